"""Settings of OpenAI-compatible chat completions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr
from pydantic_core import PydanticCustomError

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.providers.http.dialects.conversation import LegalIds
from lee_llm_router.providers.http.headers import HeaderText
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.settings.fields import BaseUrl, Integer
from lee_llm_router.settings.model import RedactingModel

OptionName: TypeAlias = Literal[
    "temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty", "logprobs",
    "top_logprobs", "reasoning_effort", "service_tier", "tools", "tool_choice", "parallel_tool_calls",
]  # fmt: skip
"""Options of a request that a server may name differently, or not accept."""

_OPENAI = "api.openai.com"
_AZURE = ".openai.azure.com"
_OPENAI_STOPS = 4
_LACKING = "the server does not take it (unsupported, in the settings of the provider)"


def _is_api_root(url: str) -> str:
    if urlsplit(url).path.endswith("/chat/completions"):
        raise PydanticCustomError("wanted_url", "leave out /chat/completions: it is added")
    return url


def _sets_no_stream(body: dict[str, Any]) -> dict[str, Any]:
    if "stream" in body:
        raise PydanticCustomError("reserved", "stream cannot be set here: it decides how answers are read")
    return body


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise PydanticCustomError(
            "wanted_pattern", "a regular expression is wanted: {why}", {"why": str(error)}
        ) from None
    return text


class ToolIdConfig(RedactingModel):
    """Ids of tool calls that a server accepts; others are replaced, in calls and results alike."""

    pattern: Annotated[str, AfterValidator(_is_pattern)] | None = Field(
        None, description="What a whole id matches. Default: anything."
    )
    max_length: Integer = Field(40, ge=1, le=1000, description="The most characters of one.")
    length: Integer | None = Field(None, ge=1, le=32, description="Its exact length, where the server has one.")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Facts derived from the settings, once."""

    host: str
    """The server's host, with its port if the address names one."""
    is_openai: bool = False
    """Whether the server is OpenAI, or Azure."""
    knows_new_bound: bool = False
    """Whether the server is known to accept `max_completion_tokens`."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """The options that the server does not accept, each with the reason."""
    max_stop: int | None = None
    """Most stop sequences in one request; None for any number."""
    ids: LegalIds = field(default_factory=lambda: LegalIds(None, 40))
    """Makes ids of tool calls legal."""


class OpenAIChatConfig(HTTPConfig):
    """Settings of an `http` provider: OpenAI's chat completions, and servers that speak them."""

    api: Literal["openai-chat"] = Field("openai-chat", description="What is spoken: OpenAI's chat completions.")
    base_url: Annotated[BaseUrl, AfterValidator(_is_api_root)] = Field(
        description="Where the API is, its version included: https://api.openai.com/v1."
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_sets_no_stream)] = Field(
        default_factory=dict, description="Fields merged into each request's body as they are."
    )
    organization: HeaderText | None = Field(None, description="Sent as OpenAI-Organization.")
    project: HeaderText | None = Field(None, description="Sent as OpenAI-Project.")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        None, description="The field that bounds the answer. Default: the newer name at api.openai.com, else the older."
    )
    stream_usage: bool = Field(
        True, description="Ask streams for the tokens used (stream_options). Off for servers that refuse to be asked."
    )
    stream_end: Literal["done", "finish_reason", "mark"] = Field(
        "done",
        description="What ends an answer: done, the mark [DONE] after a finish reason; finish_reason, the end of the"
        " connection after one, for servers that send no mark; or mark, [DONE] alone, for servers that send no reason.",
    )
    structured_output: Literal["json_schema", "json_object", "prompt"] = Field(
        "json_schema",
        description="How JSON is asked for: response_format json_schema, or json_object with the schema in words, or"
        " prompt: in words alone. A server that refuses one is asked in the next.",
    )

    unsupported: tuple[OptionName, ...] = Field(
        (), description="Options that the server does not take: the target is skipped, or asked without them."
    )
    rename: dict[OptionName, str] = Field(
        default_factory=dict, description="Fields that options are sent in under other names: {seed: random_seed}."
    )
    reasoning_efforts: tuple[str, ...] = Field(
        (), description="The words for reasoning_effort that the server knows; the nearest one, no higher, is sent."
    )
    max_stop: Integer | None = Field(
        None, ge=1, le=1000, description="The most stop sequences. Default: 4 at OpenAI, else any."
    )
    tool_id: ToolIdConfig = Field(default_factory=ToolIdConfig, description="Ids of tool calls: {length: 9}.")
    cache_marks: Literal["none", "cache_control", "prompt_cache_breakpoint"] = Field(
        "none",
        description="How a message with `cache: true` is marked: cache_control, Anthropic's word (OpenRouter, LiteLLM);"
        " prompt_cache_breakpoint, OpenAI's; or none, for servers that cache by themselves.",
    )
    media_in_results: bool = Field(
        False, description="Whether tool messages may hold pictures; else they follow in a message of the user."
    )
    media: tuple[Literal["image", "audio", "file"], ...] | None = Field(
        None, description="The kinds of parts beside text that the server takes. Default: any."
    )
    message_names: bool = Field(True, description="Whether messages may say the name of who speaks.")
    missing_reasoning: str | None = Field(
        None,
        description="What is sent as reasoning_content in a tool loop's answers that came from elsewhere, for servers"
        " that refuse those without (Moonshot, DeepSeek): a blank, say.",
    )
    after_results: str | None = Field(
        None,
        min_length=1,
        description="What the assistant says between results of tools and the user, for servers that refuse to hear the"
        " user next (Mistral).",
    )

    _facts: ServerFacts = PrivateAttr(default_factory=lambda: ServerFacts(""))

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002 - pydantic passes it
        """Compute what each request needs."""
        url = urlsplit(self.base_url)
        host = url.hostname or ""
        is_openai = host == _OPENAI or host.endswith(_AZURE)
        lacking = {"top_k": "OpenAI's API has no such option"} if is_openai else {}
        self._facts = ServerFacts(
            url.netloc.lower(),
            is_openai=is_openai,
            knows_new_bound=is_openai and (host == _OPENAI or url.path.endswith("/openai/v1")),
            lacking=lacking | dict.fromkeys(self.unsupported, _LACKING),
            max_stop=self.max_stop or (_OPENAI_STOPS if is_openai else None),
            ids=LegalIds(self.tool_id.pattern, self.tool_id.max_length, self.tool_id.length),
        )

    @property
    def facts(self) -> ServerFacts:
        """The facts derived from the settings."""
        # Reading a private attribute normally takes 1 us longer.
        facts: ServerFacts = (self.__pydantic_private__ or {})["_facts"]
        return facts

    def field_of(self, option: str) -> str:
        """Return the name of the field that carries `option`."""
        return self.rename.get(option, option)  # type: ignore[call-overload, no-any-return]

    def token_bound_field(self) -> str:
        """Return the name of the field for the token limit: newer models refuse the older name."""
        if self.max_tokens_field is not None:
            return self.max_tokens_field
        return "max_completion_tokens" if self.facts.knows_new_bound else "max_tokens"
