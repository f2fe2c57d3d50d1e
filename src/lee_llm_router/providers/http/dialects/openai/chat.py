"""OpenAI-compatible chat completions. Pure: no I/O, no HTTP library.

Spoken by OpenAI, Azure, OpenRouter, Groq, DeepSeek, Mistral, Together, and by llama.cpp, vLLM, LM Studio and Ollama.
Requests follow the OpenAI API reference, "Create chat completion". Answers are read with an eye for what other servers
do differently, and strictly where half an answer could pass for a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router._util.numbers import amount
from lee_llm_router.errors import InvalidRequestError, LLMRouterError
from lee_llm_router.providers.http.dialects import sse
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import decode_json, invalid_answer, mapping, string
from lee_llm_router.providers.http.dialects.openai.answers import arguments_text, broken_off, refused, text_of, usage_of
from lee_llm_router.providers.http.dialects.openai.chat_stream import ChatDecoder
from lee_llm_router.providers.http.dialects.openai.errors import failure, failure_within
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.structured_output import form_of, kind_of, with_instructions
from lee_llm_router.providers.json_schema import is_strict, json_schema_of
from lee_llm_router.response import LLMRequest, LLMResponse, Message, ToolCall


class ChatDialect:
    """The `Dialect` of chat completions. It holds no state."""

    def path(self, request: LLMRequest, settings: OpenAIChatConfig, *, stream: bool) -> str:  # noqa: ARG002
        """Return the one path there is, for whole answers and streams."""
        return "/chat/completions"

    def headers(self, settings: OpenAIChatConfig, key: str | None, *, stream: bool) -> dict[str, str]:
        """Return the key as a bearer token, and the organization and project it is used for."""
        found = {
            "Authorization": f"Bearer {key}" if key else None,
            "OpenAI-Organization": settings.organization,
            "OpenAI-Project": settings.project,
            "Accept": sse.ACCEPT if stream else None,
        }
        return {name: value for name, value in found.items() if value}

    def encode(self, request: LLMRequest, settings: OpenAIChatConfig, *, stream: bool) -> dict[str, Any]:
        """Return the body of `request`. Options that are unset are not sent; nor is a model where none is named.

        Raises:
            InvalidRequestError: the schema is no JSON Schema, or `extra_body` asks for a stream.
        """
        if "stream" in request.extra_body:
            raise InvalidRequestError("extra_body must not set stream: it decides how answers are read", sent=False)
        response_format, messages = _json_wanted(request, settings)
        options = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": request.stop,
            "seed": request.seed,
            "reasoning_effort": request.reasoning_effort,
            "tools": request.tools,
            "tool_choice": request.tool_choice,
            "response_format": response_format,
        }
        # A local server may serve one model only, and need no name for it.
        model = request.model or settings.model
        body: dict[str, Any] = {} if model is None else {"model": model}
        body["messages"] = messages
        body.update((name, value) for name, value in options.items() if value is not None)
        if request.max_tokens is not None:
            body[settings.token_bound_field()] = request.max_tokens
        if stream:
            body["stream"] = True
            if settings.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return body

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in the body of a 200.

        The finish reason may be missing, since a few small servers never send one. In the API's reference null means
        "still being written", so that is no whole answer. Empty text is an answer. No text (null) is one only beside
        tool calls, or where the bound on tokens was used up before the first word.

        Raises:
            InvalidResponseError: the body holds no answer.
            ContentFilterError: the answer was refused; `response` holds what came of it.
            LLMRouterError: an error came in place of an answer; of the type that it names.
        """
        answer = decode_json(reply)
        if answer.get("error"):
            raise failure_within(reply, answer["error"])
        choice, message = _first_choice(reply, answer)
        response = LLMResponse(
            text=text_of(reply, message.get("content")) or "",
            tool_calls=_tool_calls(reply, message.get("tool_calls")),
            reasoning=string(message.get("reasoning_content")) or string(message.get("reasoning")),
            finish_reason=string(choice.get("finish_reason")),
            usage=usage_of(answer.get("usage")),
            cost_usd=amount(mapping(answer.get("usage")).get("cost")),
            model=string(answer.get("model")),
            raw=answer,
            request_bytes=reply.request_bytes,
        )
        _check_whole(reply, choice, message, response)
        return response

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for a status that is no success; see `errors`."""
        return failure(reply)

    def decoder(self, reply: HTTPReply, settings: OpenAIChatConfig) -> ChatDecoder | None:
        """Return what reads the events of a stream; None where the server sends JSON or a web page instead."""
        if sse.is_whole_body(reply):
            return None
        return ChatDecoder(reply, settings.max_response_bytes, settings.stream_end == "done")


def _first_choice(reply: HTTPReply, answer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first choice and its message."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise invalid_answer(reply, "without choices")
    choice: dict[str, Any] = choices[0]
    if choice.get("error"):
        raise failure_within(reply, choice["error"])
    message = choice.get("message")
    if not isinstance(message, dict):
        raise invalid_answer(reply, "without a message")
    return choice, message


def _check_whole(reply: HTTPReply, choice: dict[str, Any], message: dict[str, Any], response: LLMResponse) -> None:
    refusal = string(message.get("refusal"))
    if refusal:
        raise refused(reply, refusal, response)
    reason = choice.get("finish_reason", "")
    if not isinstance(reason, str):
        raise invalid_answer(reply, "not finished (finish_reason is no text)")
    failed = broken_off(reply, reason, response)
    if failed is not None:
        raise failed
    if message.get("content") is None and not response.tool_calls and reason != "length":
        raise invalid_answer(reply, "without text and without tool calls")


def _tool_calls(reply: HTTPReply, calls: Any) -> tuple[ToolCall, ...]:
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise invalid_answer(reply, "malformed (tool_calls is not a list)")
    return tuple(_tool_call(reply, call, number) for number, call in enumerate(calls))


def _tool_call(reply: HTTPReply, call: Any, number: int) -> ToolCall:
    function = mapping(call).get("function") or mapping(call).get("custom")
    name = string(mapping(function).get("name"))
    if name is None:
        raise invalid_answer(reply, f"malformed (tool_calls[{number}] names no function)")
    arguments = arguments_text(mapping(function).get("arguments", mapping(function).get("input")))
    # Some local servers send no ids; the position is enough to pair call and result.
    return ToolCall(id=string(call.get("id")) or f"call_{number}", name=name, arguments=arguments)


def _json_wanted(request: LLMRequest, settings: OpenAIChatConfig) -> tuple[dict[str, Any] | None, Sequence[Message]]:
    """Return the `response_format` of `request`, and its messages, with words that ask for JSON where it takes them."""
    if not request.wants_json:
        return None, request.messages
    form = form_of(kind_of(request), settings.structured_output)
    if form == "prompt":
        return None, with_instructions(request.messages, request)
    if form == "json_object":
        # Without a schema there is nothing to tell in words.
        in_words = request.schema is not None
        return {"type": form}, with_instructions(request.messages, request) if in_words else request.messages
    schema = json_schema_of(request.schema)
    return {
        "type": form,
        "json_schema": {"name": _schema_name(schema), "schema": schema, "strict": is_strict(schema)},
    }, request.messages


def _schema_name(schema: Mapping[str, Any]) -> str:
    """Return a name of the characters the API allows (a-z, A-Z, 0-9, _ and -, 64 at most)."""
    title = schema.get("title")
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", title)[:64].strip("_") or "answer" if isinstance(title, str) else "answer"
