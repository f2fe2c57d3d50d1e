"""OpenAI-compatible chat completions. Pure: no I/O, no HTTP library.

Used by OpenAI, Azure, OpenRouter, Groq, DeepSeek, Mistral, Together, and by llama.cpp, vLLM, LM Studio and Ollama.
Requests follow the OpenAI API reference, "Create chat completion". Reading allows for what other servers do
differently, but is strict when a partial answer could pass for a complete one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lee_llm_router.errors import InvalidRequestError, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.errors import failure
from lee_llm_router.providers.http.dialects.event_reader import read_body
from lee_llm_router.providers.http.dialects.openai.chat_stream import ChatDecoder
from lee_llm_router.providers.http.dialects.openai.messages import legal_messages
from lee_llm_router.providers.http.dialects.openai.options import options_of
from lee_llm_router.providers.http.dialects.openai.request_headers import openai_headers
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.structured_output import form_of, kind_of, with_instructions
from lee_llm_router.providers.http.dialects.openai.whole_answer import decode_answer, whole_answer
from lee_llm_router.providers.json_schema import is_strict, json_schema_of, schema_name
from lee_llm_router.response.types import LLMRequest, LLMResponse, Message


class ChatDialect:
    """The `Dialect` of chat completions. Stateless."""

    def path(self, request: LLMRequest, settings: OpenAIChatConfig, *, stream: bool) -> str:  # noqa: ARG002
        """Return the path, which is the same for whole answers and streams."""
        return "/chat/completions"

    def headers(self, settings: OpenAIChatConfig, key: str | None, *, stream: bool) -> dict[str, str]:
        """Return the key as a bearer token, with its organization and project."""
        return openai_headers(key, organization=settings.organization, project=settings.project, stream=stream)

    def encode(self, request: LLMRequest, settings: OpenAIChatConfig, *, stream: bool) -> dict[str, Any]:
        """Return the body of `request`, without unset options, and without a model if none is named.

        Raises:
            InvalidRequestError: the schema is no JSON Schema, or `extra_body` asks for a stream.
        """
        if "stream" in request.extra_body:
            raise InvalidRequestError("extra_body must not set stream: it decides how answers are read", sent=False)
        response_format, messages = _json_wanted(request, settings)
        # A local server may serve only one model, and need no name for it.
        model = request.model or settings.model
        body: dict[str, Any] = {} if model is None else {"model": model}
        body["messages"] = legal_messages(messages, request, settings)
        body.update(options_of(request, settings))
        if response_format is not None:
            body["response_format"] = response_format
        if request.max_tokens is not None:
            body[settings.token_bound_field()] = request.max_tokens
        if stream:
            body["stream"] = True
            if settings.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return body

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in the body of a 200: JSON, or a stream from a server that streams unasked.

        The content of the body decides, not its content type.

        Raises:
            InvalidResponseError: the body holds no complete answer; see `whole_answer` and `chat_stream`.
            ContentFilterError: the answer was refused; `response` holds the partial answer.
            LLMRouterError: an error came instead of an answer; the type is the one that it names.
        """
        return read_body(reply, _read_whole, _decoder_of)

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for an unsuccessful status; see `errors`."""
        return failure(reply)

    def decoder(self, reply: HTTPReply, settings: OpenAIChatConfig) -> ChatDecoder:
        """Return a decoder of the body, which may be a stream of events or JSON."""
        return ChatDecoder(reply, settings.max_response_bytes, settings.stream_end)


def _read_whole(reply: HTTPReply) -> LLMResponse:
    return whole_answer(reply, decode_answer(reply))


def _decoder_of(reply: HTTPReply, limit: int) -> ChatDecoder:
    return ChatDecoder(reply, limit, getattr(reply.settings, "stream_end", "done"))


def _json_wanted(request: LLMRequest, settings: OpenAIChatConfig) -> tuple[dict[str, Any] | None, Sequence[Message]]:
    """Return the `response_format` of `request` and its messages, with a prompt for JSON if one is needed."""
    if not request.wants_json:
        return None, request.messages
    form = form_of(kind_of(request), settings.structured_output)
    if form == "prompt":
        return None, with_instructions(request.messages, request)
    if form == "json_object":
        # Without a schema there is nothing to describe.
        in_words = request.schema is not None
        return {"type": form}, with_instructions(request.messages, request) if in_words else request.messages
    schema = json_schema_of(request.schema)
    return {
        "type": form,
        "json_schema": {"name": schema_name(schema), "schema": schema, "strict": is_strict(schema)},
    }, request.messages
