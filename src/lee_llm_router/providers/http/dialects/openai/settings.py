"""Settings of OpenAI-compatible chat completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.http.headers import HeaderText
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.settings.fields import BaseUrl


def _is_api_root(url: str) -> str:
    if urlsplit(url).path.endswith("/chat/completions"):
        raise PydanticCustomError("wanted_url", "leave out /chat/completions: it is added")
    return url


def _sets_no_stream(body: dict[str, Any]) -> dict[str, Any]:
    if "stream" in body:
        raise PydanticCustomError("reserved", "stream cannot be set here: it decides how answers are read")
    return body


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

    def token_bound_field(self) -> str:
        """Return the name of the field that bounds the answer: newer models refuse the older name."""
        if self.max_tokens_field is not None:
            return self.max_tokens_field
        return "max_completion_tokens" if urlsplit(self.base_url).hostname == "api.openai.com" else "max_tokens"
