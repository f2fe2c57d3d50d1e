"""Settings of the provider type `anthropic`."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.http.dialects.anthropic.lessons import NO_LESSON, Lesson
from lee_llm_router.providers.http.headers import HeaderText
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.settings.fields import BaseUrl, EnvNames, Integer

VERSION = "2026-10-21"
"""The version of the API whose forms this dialect writes."""
_LARGEST_BOUND = 10_000_000


def _is_api_root(url: str) -> str:
    if re.search(r"/messages$|:(?:streamR|r)awPredict$", urlsplit(url).path):
        raise PydanticCustomError("wanted_url", "leave out /messages: it is added")
    return url


def _sets_no_stream(body: dict[str, Any]) -> dict[str, Any]:
    if "stream" in body:
        raise PydanticCustomError("reserved", "stream cannot be set here: it decides how answers are read")
    return body


class AnthropicConfig(HTTPConfig):
    """Settings of an `anthropic` provider: Anthropic's Messages API, and servers that speak it."""

    keeps_key_at_home = True
    usual_key_variable = "ANTHROPIC_API_KEY"
    lesson: ClassVar[Lesson] = NO_LESSON
    """What the model has taught. If it has taught anything, a copy of the settings with another lesson is used
    (`learns`)."""

    base_url: Annotated[BaseUrl, AfterValidator(_is_api_root)] = Field(
        "https://api.anthropic.com/v1", description="Address of the API, including its version; /messages is appended."
    )
    api_key_env: EnvNames | None = Field(
        None,
        description="Environment variable that holds the key, read at each attempt, or a list of them. Default:"
        " ANTHROPIC_API_KEY if base_url is unset, else none.",
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_sets_no_stream)] = Field(
        default_factory=dict, description="Fields merged into each request's body as they are."
    )
    key_header: Literal["bearer", "x-api-key"] = Field(
        "bearer",
        description="How the key is sent: as Authorization: Bearer, or as x-api-key to servers that require it.",
    )
    version: HeaderText = Field(VERSION, description="Sent as anthropic-version.")
    betas: list[HeaderText] = Field(
        default_factory=list, description="Beta features to turn on, sent as anthropic-beta."
    )
    platform: Literal["messages", "vertex"] = Field(
        "messages",
        description="messages: POST base_url/messages, with the model in the body. vertex: POST"
        " base_url/MODEL:rawPredict, with the version in the body; base_url ends with publishers/anthropic/models.",
    )
    default_max_tokens: Integer = Field(
        20_000,
        ge=1,
        le=_LARGEST_BOUND,
        description="max_tokens of requests that set none, because the API requires it. A model with a lower maximum"
        " gets that maximum, once it has named it.",
    )
    thinking: Literal["auto", "adaptive", "budget"] = Field(
        "auto",
        description="How reasoning_effort is sent: adaptive, as an effort, with which the model decides how much to"
        " think; budget, as a number of tokens. auto: a budget for Claude before 4.6 and for other vendors' models.",
    )
    thinking_display: Literal["summarized", "omitted"] | None = Field(
        None, description="Whether answers include a summary of the model's thinking, or omit it. Default: the model's."
    )
    structured_output: Literal["json_schema", "prompt"] = Field(
        "json_schema",
        description="How JSON is requested: by output_config.format, or only in the prompt. A server that refuses the"
        " first gets the second.",
    )
    cache_ttl: Literal["5m", "1h"] = Field(
        "5m", description="How long the vendor keeps what is marked with `cache: true`."
    )
    cite_documents: bool = Field(
        False, description="Have the model cite the parts of files that it used. Not possible with structured output."
    )
    auto_cache: bool = Field(False, description="Keep each whole request in the vendor's cache, for the next turn.")
