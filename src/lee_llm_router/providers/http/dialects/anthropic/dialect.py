"""The dialect of Anthropic's Messages API. Pure: no I/O, no HTTP library.

Used by Anthropic, by Bedrock and Vertex for Claude, by llama.cpp's server, and by DeepSeek, Moonshot, Z.ai and MiniMax.
`request` writes requests, `answer` and `stream` read answers, and `errors` reads failures.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects import sse
from lee_llm_router.providers.http.dialects.anthropic.answer import whole_answer
from lee_llm_router.providers.http.dialects.anthropic.errors import failure
from lee_llm_router.providers.http.dialects.anthropic.models import model_of
from lee_llm_router.providers.http.dialects.anthropic.request import body_of
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.dialects.anthropic.stream import MessageDecoder
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.event_reader import read_body
from lee_llm_router.providers.http.dialects.json_body import decode_json
from lee_llm_router.response.types import LLMRequest, LLMResponse


class MessagesDialect:
    """The `Dialect` of Anthropic's messages. Stateless."""

    def path(self, request: LLMRequest, settings: AnthropicConfig, *, stream: bool) -> str:
        """Return the path; on Vertex it is the model's, and differs for whole answers and streams."""
        if settings.platform == "messages":
            return "/messages"
        model = quote(model_of(request, settings) or "", safe="@")
        return f"/{model}:{'streamRawPredict' if stream else 'rawPredict'}"

    def headers(self, settings: AnthropicConfig, key: str | None, *, stream: bool) -> dict[str, str]:
        """Return the key in the form that the settings choose, the version and the betas."""
        is_bearer = settings.key_header == "bearer"
        found = {
            "Authorization": f"Bearer {key}" if key and is_bearer else None,
            "x-api-key": None if is_bearer else key,
            "anthropic-version": settings.version if settings.platform == "messages" else None,
            "anthropic-beta": ",".join(settings.betas),
            "Accept": sse.ACCEPT if stream else None,
        }
        return {name: value for name, value in found.items() if value}

    def encode(self, request: LLMRequest, settings: AnthropicConfig, *, stream: bool) -> dict[str, Any]:
        """Return the body of `request`; see `request`."""
        return body_of(request, settings, stream=stream)

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in the body of a 200: JSON, or a stream from a server that streams unasked.

        The content of the body decides, not its content type.

        Raises:
            InvalidResponseError: the body holds no complete answer; see `answer` and `stream`.
            ContentFilterError: the answer was refused; `response` holds the partial answer.
            LLMRouterError: an error came instead of an answer; the type is the one that it names.
        """
        return read_body(reply, _read_whole, MessageDecoder)

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for an unsuccessful status; see `errors`."""
        return failure(reply)

    def decoder(self, reply: HTTPReply, settings: AnthropicConfig) -> MessageDecoder:
        """Return a decoder of the body, which may be a stream of events or JSON."""
        return MessageDecoder(reply, settings.max_response_bytes)


def _read_whole(reply: HTTPReply) -> LLMResponse:
    return whole_answer(reply, decode_json(reply))
