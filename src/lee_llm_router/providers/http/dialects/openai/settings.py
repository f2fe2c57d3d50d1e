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
        None, description="A pattern that the whole id must match. Default: any id."
    )
    max_length: Integer = Field(40, ge=1, le=1000, description="Most characters of an id.")
    length: Integer | None = Field(None, ge=1, le=32, description="Exact length of an id, if the server requires one.")


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

    api: Literal["openai-chat"] = Field("openai-chat", description="API of the server: OpenAI's chat completions.")
    base_url: Annotated[BaseUrl, AfterValidator(_is_api_root)] = Field(
        description="Address of the API, including its version: https://api.openai.com/v1."
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_sets_no_stream)] = Field(
        default_factory=dict, description="Fields merged into each request's body as they are."
    )
    organization: HeaderText | None = Field(None, description="Sent as OpenAI-Organization.")
    project: HeaderText | None = Field(None, description="Sent as OpenAI-Project.")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        None,
        description="Field that limits the answer's tokens. Default: the newer name at api.openai.com, else the"
        " older one.",
    )
    stream_usage: bool = Field(
        True, description="Ask for token counts in streams (stream_options). Turn it off for servers that refuse this."
    )
    stream_end: Literal["done", "finish_reason", "mark"] = Field(
        "done",
        description="What ends a stream: done, [DONE] after a finish reason; finish_reason, the end of the connection"
        " after one, for servers that do not send [DONE]; or mark, [DONE] alone, for servers that send no reason.",
    )
    structured_output: Literal["json_schema", "json_object", "prompt"] = Field(
        "json_schema",
        description="How JSON is requested: response_format json_schema; json_object, with the schema in the prompt;"
        " or prompt: only in the prompt. A server that refuses one gets the next.",
    )

    unsupported: tuple[OptionName, ...] = Field(
        (), description="Options that the server does not support: the target is skipped, or asked without them."
    )
    rename: dict[OptionName, str] = Field(
        default_factory=dict, description="Options to send under another field name: {seed: random_seed}."
    )
    reasoning_efforts: tuple[str, ...] = Field(
        (), description="Values of reasoning_effort that the server knows; the nearest one that is no higher is sent."
    )
    max_stop: Integer | None = Field(
        None, ge=1, le=1000, description="Most stop sequences. Default: 4 at OpenAI, else no limit."
    )
    tool_id: ToolIdConfig = Field(default_factory=ToolIdConfig, description="Form of tool call ids: {length: 9}.")
    cache_marks: Literal["none", "cache_control", "prompt_cache_breakpoint"] = Field(
        "none",
        description="How a message with `cache: true` is marked: cache_control, Anthropic's word (OpenRouter, LiteLLM);"
        " prompt_cache_breakpoint, OpenAI's; or none, for servers that cache by themselves.",
    )
    media_in_results: bool = Field(
        False, description="Whether tool messages may contain images; if not, they follow in a user message."
    )
    media: tuple[Literal["image", "audio", "file"], ...] | None = Field(
        None, description="Kinds of parts that the server accepts besides text. Default: any."
    )
    message_names: bool = Field(True, description="Whether messages may have a name.")
    missing_reasoning: str | None = Field(
        None,
        description="The reasoning_content to send with other vendors' answers in a tool loop, for servers that refuse"
        " answers without it (Moonshot, DeepSeek); for example a blank.",
    )
    after_results: str | None = Field(
        None,
        min_length=1,
        description="Assistant message to put between tool results and a user message, for servers that refuse a user"
        " message there (Mistral).",
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
