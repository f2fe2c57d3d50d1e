"""The `Dialect` of the Gemini API: `generateContent` and `streamGenerateContent`. Pure: no I/O, no HTTP library.

Used by Google's Gemini API, by Vertex for Google's models, and by gateways. Requests follow the API reference of
v1beta.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from lee_llm_router.errors import InvalidRequestError, LLMRouterError
from lee_llm_router.providers.http.dialects import sse
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.event_reader import answer_of
from lee_llm_router.providers.http.dialects.gemini.answer import AnswerReader
from lee_llm_router.providers.http.dialects.gemini.errors import failure
from lee_llm_router.providers.http.dialects.gemini.request import body_of, model_of, path_of
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig, is_vertex
from lee_llm_router.providers.http.dialects.gemini.stream import GeminiDecoder
from lee_llm_router.providers.streams import AnswerParts
from lee_llm_router.response.types import LLMRequest, LLMResponse

_API_KEYS = ("AIza", "AQ.")
"""Prefixes of Google's API keys; access tokens have none of them."""


class GeminiDialect:
    """Google's wire format. Stateless."""

    def path(self, request: LLMRequest, settings: GeminiConfig, *, stream: bool) -> str:
        """Return the path of the model and its method.

        Raises:
            InvalidRequestError: no model is named.
        """
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{path_of(model_of(request, settings))}:{method}"

    def headers(self, settings: GeminiConfig, key: str | None, *, stream: bool) -> dict[str, str]:
        """Return the key, as an API key or as a bearer token."""
        found = {"Accept": sse.ACCEPT} if stream else {}
        if not key:
            return found
        by = settings.key_as
        if by == "auto":
            by = "bearer" if is_vertex(settings.base_url) and not key.startswith(_API_KEYS) else "x-goog-api-key"
        return {**found, "Authorization": f"Bearer {key}"} if by == "bearer" else {**found, "x-goog-api-key": key}

    def encode(self, request: LLMRequest, settings: GeminiConfig, *, stream: bool) -> dict[str, Any]:  # noqa: ARG002
        """Return the body of `request`, which is the same for a stream.

        Raises:
            InvalidRequestError: it cannot be written.
        """
        try:
            return body_of(request, settings)
        except RecursionError:
            raise InvalidRequestError("the request is nested too deep", sent=False) from None

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in the body of a 200: JSON, a list of it, or a stream of events.

        Raises:
            LLMRouterError: it holds no complete answer; its `response` is the partial one.
        """
        if reply.body.startswith(b"{"):  # nearly all
            try:
                value = from_json(reply.body, allow_inf_nan=False)
            except ValueError:
                pass
            else:
                return _whole_answer(reply, value)
        return answer_of(GeminiDecoder(reply, len(reply.body) + 1), reply.body)

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for an unsuccessful status; see `errors`."""
        return failure(reply)

    def decoder(self, reply: HTTPReply, settings: GeminiConfig) -> GeminiDecoder:
        """Return a decoder of the body, whatever its content type."""
        return GeminiDecoder(reply, settings.max_response_bytes)


def _whole_answer(reply: HTTPReply, value: dict[str, Any]) -> LLMResponse:
    """Return the answer in one object.

    Raises:
        LLMRouterError: it holds no complete answer; its `response` is the partial one.
    """
    reader, parts = AnswerReader(reply), AnswerParts()
    try:
        parts.add(reader.read(value))
        parts.add(reader.finish())
    except LLMRouterError as error:
        if parts.texts:
            error.response = error.response or parts.response(value)
        raise
    return parts.response(value)
