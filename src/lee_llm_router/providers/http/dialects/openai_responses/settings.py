"""Settings of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.http.headers import HeaderText
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.settings.fields import BaseUrl

_OPENAI = "https://api.openai.com/v1"
_PATHS = ("/responses", "/chat/completions")

_FIELDS = {"reasoning_effort": "reasoning", "max_tokens": "max_output_tokens", "logprobs": "top_logprobs"}
"""Fields with a name other than their option's."""

OUT_OF_SCOPE: dict[str, str] = {
    "stream": "it decides how answers are read",
    "background": "the router does not wait for answers made in the background",
    "conversation": "each call sends its whole conversation, so it can continue with another vendor",
    "previous_response_id": "each call sends its whole conversation, so it can continue with another vendor",
}
"""Fields that a request body must not set, with the reason."""


def field_out_of_scope(body: Mapping[str, Any]) -> str | None:
    """Return which field `body` must not set, and why; None if there is none. Fields that are off do not count."""
    for name, reason in OUT_OF_SCOPE.items():
        if name in body and (name == "stream" or body[name] not in (None, False)):
            return f"{name} cannot be set here: {reason}"
    return None


def _is_api_root(url: str) -> str:
    path = urlsplit(url).path
    for ending in _PATHS:
        if path.endswith(ending):
            raise PydanticCustomError("wanted_url", f"leave out {ending}: the path is added")
    return url


def _stays_in_scope(body: dict[str, Any]) -> dict[str, Any]:
    problem = field_out_of_scope(body)
    if problem is not None:
        raise PydanticCustomError("reserved", "{problem}", {"problem": problem})
    return body


class ResponsesConfig(HTTPConfig):
    """Settings of an `openai_responses` provider: OpenAI's Responses API, and servers that speak it."""

    keeps_key_at_home = True
    usual_key_variable = "OPENAI_API_KEY"

    base_url: Annotated[BaseUrl, AfterValidator(_is_api_root)] = Field(
        _OPENAI,
        description="Address of the API, including its version. Default: OpenAI's, with the key in OPENAI_API_KEY.",
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_stays_in_scope)] = Field(
        default_factory=dict,
        description="Fields merged into each request's body: reasoning and text are merged, include is extended, all"
        " others are set.",
    )
    organization: HeaderText | None = Field(None, description="Sent as OpenAI-Organization.")
    project: HeaderText | None = Field(None, description="Sent as OpenAI-Project.")
    reasoning_summary: Literal["auto", "concise", "detailed"] | None = Field(
        None, description="Ask for a summary of the model's reasoning. Default: none."
    )
    encrypted_reasoning: bool = Field(
        True,
        description="Ask for the model's reasoning in encrypted form, to send it back in the next request. A server"
        " that refuses this is asked without it.",
    )
    reasoning_efforts: list[str] = Field(
        default_factory=list,
        description="Values of reasoning_effort that the model knows; the nearest one that is no higher is sent."
        " Default: those that OpenAI's models are known to have.",
    )
    cache_marks: Literal["none", "prompt_cache_breakpoint"] | None = Field(
        None,
        description="How a message with `cache: true` is marked. Default: prompt_cache_breakpoint for OpenAI's models"
        " that have it, else none.",
    )
    structured_output: Literal["json_schema", "json_object", "prompt"] = Field(
        "json_schema",
        description="How JSON is requested: text.format json_schema; json_object, with the schema in the prompt; or"
        " prompt: only in the prompt. A server that refuses one gets the next.",
    )

    def field_of(self, option: str) -> str:
        """Return the name of the field that carries `option`."""
        return _FIELDS.get(option, option)

    @property
    def is_at_openai(self) -> bool:
        """Whether the server is OpenAI itself, or Azure for it."""
        host = urlsplit(self.base_url).hostname or ""
        return host == "api.openai.com" or host.endswith((".openai.azure.com", ".services.ai.azure.com"))
