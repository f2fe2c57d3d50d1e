"""OpenAI's Responses API. Pure: no I/O, no HTTP library.

Used by OpenAI and Azure, by OpenRouter, and by llama.cpp, vLLM, LM Studio and Ollama. Requests follow the types of
OpenAI's SDK. Reading allows for what other servers do differently, but is strict when a partial answer could pass for a
complete one.
"""

from __future__ import annotations

from typing import Any

from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.event_reader import read_body
from lee_llm_router.providers.http.dialects.openai.request_headers import openai_headers
from lee_llm_router.providers.http.dialects.openai.whole_answer import decode_answer
from lee_llm_router.providers.http.dialects.openai_responses.errors import failure
from lee_llm_router.providers.http.dialects.openai_responses.request import body_of
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.providers.http.dialects.openai_responses.stream import ResponsesDecoder
from lee_llm_router.providers.http.dialects.openai_responses.whole_answer import unwrapped, whole_answer
from lee_llm_router.response.types import LLMRequest, LLMResponse


class ResponsesDialect:
    """The `Dialect` of the Responses API. Stateless."""

    def path(self, request: LLMRequest, settings: ResponsesConfig, *, stream: bool) -> str:  # noqa: ARG002
        """Return the path, which is the same for whole answers and streams."""
        return "/responses"

    def headers(self, settings: ResponsesConfig, key: str | None, *, stream: bool) -> dict[str, str]:
        """Return the key as a bearer token, with its organization and project."""
        return openai_headers(key, organization=settings.organization, project=settings.project, stream=stream)

    def encode(self, request: LLMRequest, settings: ResponsesConfig, *, stream: bool) -> dict[str, Any]:
        """As `request.body_of`."""
        return body_of(request, settings, stream=stream)

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in the body of a 200: JSON, or a stream from a server that streams unasked.

        Raises:
            InvalidResponseError: the body holds no complete answer; see `whole_answer` and `stream`.
            ContentFilterError: the answer was refused; `response` holds the partial answer.
            LLMRouterError: the response failed, or an error came instead; the type is the one that it names.
        """
        return read_body(reply, _read_whole, ResponsesDecoder)

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for an unsuccessful status; see `errors`."""
        return failure(reply)

    def decoder(self, reply: HTTPReply, settings: ResponsesConfig) -> ResponsesDecoder:
        """Return a decoder of the body, which may be a stream of events or JSON."""
        return ResponsesDecoder(reply, settings.max_response_bytes)


def _read_whole(reply: HTTPReply) -> LLMResponse:
    return whole_answer(reply, unwrapped(decode_answer(reply)))
