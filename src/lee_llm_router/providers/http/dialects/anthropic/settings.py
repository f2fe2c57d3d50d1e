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
        "https://api.anthropic.com/v1", description="Where the API is, its version included; /messages is added."
    )
    api_key_env: EnvNames | None = Field(
        None,
        description="Environment variable that holds the key, read at each attempt, or a list of them. Default:"
        " ANTHROPIC_API_KEY where base_url is unset, else none.",
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_sets_no_stream)] = Field(
        default_factory=dict, description="Fields merged into each request's body as they are."
    )
    key_header: Literal["bearer", "x-api-key"] = Field(
        "bearer", description="How the key travels: as Authorization: Bearer, or as x-api-key for servers that want it."
    )
    version: HeaderText = Field(VERSION, description="Sent as anthropic-version.")
    betas: list[HeaderText] = Field(
        default_factory=list, description="Features that are not for everyone yet, sent as anthropic-beta."
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
        description="The bound on tokens where the request has none: the API wants one. A model that takes fewer is"
        " asked with its own bound, once it has named that.",
    )
    thinking: Literal["auto", "adaptive", "budget"] = Field(
        "auto",
        description="How reasoning_effort is told: adaptive, as an effort that the model fills as it sees fit; budget,"
        " as a number of tokens. auto: a budget for Claude before 4.6 and for other vendors' models.",
    )
    thinking_display: Literal["summarized", "omitted"] | None = Field(
        None, description="Whether the thinking is shown, where the model thinks. Default: as the model has it."
    )
    structured_output: Literal["json_schema", "prompt"] = Field(
        "json_schema",
        description="How JSON is asked for: by output_config.format, or in words alone. A server that refuses the first"
        " is asked in words.",
    )
    cache_ttl: Literal["5m", "1h"] = Field("5m", description="How long what is marked with `cache: true` is kept.")
    cite_documents: bool = Field(
        False, description="Have the model say which parts of files it used. Not beside structured output."
    )
    auto_cache: bool = Field(False, description="Keep all of each request in the vendor's cache, for the next turn.")
