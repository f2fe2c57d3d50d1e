"""OpenAI's Responses API. Pure: no I/O, no HTTP library.

Spoken by OpenAI and Azure, by OpenRouter, and by llama.cpp, vLLM, LM Studio and Ollama. Requests follow the types of
OpenAI's SDK. Answers are read with an eye for what other servers do differently, and strictly where half an answer
could pass for a whole one.
"""

from __future__ import annotations

from typing import Any

from lee_llm_router.errors import InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http.dialects import sse
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.openai.event_bodies import events_in, is_stream
from lee_llm_router.providers.http.dialects.openai.whole_answer import decode_answer
from lee_llm_router.providers.http.dialects.openai_responses.errors import failure
from lee_llm_router.providers.http.dialects.openai_responses.request import body_of
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.providers.http.dialects.openai_responses.stream import ResponsesDecoder
from lee_llm_router.providers.http.dialects.openai_responses.whole_answer import unwrapped, whole_answer
from lee_llm_router.providers.streams import AnswerParts
from lee_llm_router.response import LLMRequest, LLMResponse


class ResponsesDialect:
    """The `Dialect` of the Responses API. It holds no state."""

    def path(self, request: LLMRequest, settings: ResponsesConfig, *, stream: bool) -> str:  # noqa: ARG002
        """Return the one path there is, for whole answers and streams."""
        return "/responses"

    def headers(self, settings: ResponsesConfig, key: str | None, *, stream: bool) -> dict[str, str]:
        """Return the key as a bearer token, and the organization and project it is used for."""
        found = {
            "Authorization": f"Bearer {key}" if key else None,
            "OpenAI-Organization": settings.organization,
            "OpenAI-Project": settings.project,
            "Accept": sse.ACCEPT if stream else None,
        }
        return {name: value for name, value in found.items() if value}

    def encode(self, request: LLMRequest, settings: ResponsesConfig, *, stream: bool) -> dict[str, Any]:
        """As `request.body_of`."""
        return body_of(request, settings, stream=stream)

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in the body of a 200: JSON, or a stream from a server that streams unasked.

        Raises:
            InvalidResponseError: the body holds no whole answer; see `whole_answer` and `stream`.
            ContentFilterError: the answer was refused; `response` holds what came of it.
            LLMRouterError: the response failed, or an error came in its place; of the type that it names.
        """
        if is_stream(reply):
            return _read_stream(reply)
        try:
            answer = decode_answer(reply)
        except InvalidResponseError:
            if not events_in(reply.body):
                raise
            return _read_stream(reply)
        return whole_answer(reply, unwrapped(answer))

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for a status that is no success; see `errors`."""
        return failure(reply)

    def decoder(self, reply: HTTPReply, settings: ResponsesConfig) -> ResponsesDecoder:
        """Return what reads the body, be it a stream of events or whole JSON."""
        return ResponsesDecoder(reply, settings.max_response_bytes)


def _read_stream(reply: HTTPReply) -> LLMResponse:
    """Return the answer in a whole body that is a stream of events.

    Raises:
        LLMRouterError: it is none, with what there is of it as `response`.
    """
    decoder = ResponsesDecoder(reply, len(reply.body) + 1)
    parts = AnswerParts()
    try:
        for data in (reply.body, b""):
            if data or not decoder.done:
                decoder.feed(data)
            while (chunk := decoder.next()) is not None:
                parts.add(chunk)
    except LLMRouterError as error:
        if parts.texts:
            error.response = error.response or parts.response(decoder.whole_raw())
        if type(error) is InvalidResponseError:
            error.args = (f"the answer is a stream, and {error.message}",)
        raise
    return parts.response(decoder.whole_raw())
