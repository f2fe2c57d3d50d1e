"""OpenAI-compatible chat completions. Pure: no I/O, no HTTP library.

Spoken by OpenAI, Azure, OpenRouter, Groq, DeepSeek, Mistral, Together, and by llama.cpp, vLLM, LM Studio and Ollama.
Requests follow the OpenAI API reference, "Create chat completion". Answers are read with an eye for what the others do
differently, and strictly where half an answer could pass for a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic.errors import PydanticUserError

from lee_llm_router._util.numbers import amount
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.base import Reply, decode_json, invalid, mapping, string
from lee_llm_router.providers.http.dialects.openai.answers import arguments_text, broken_off, refused, text_of, usage_of
from lee_llm_router.providers.http.dialects.openai.chat_stream import ChatDecoder
from lee_llm_router.providers.http.dialects.openai.errors import failure, failure_within
from lee_llm_router.providers.json_schema import json_schema_of, strict_schema
from lee_llm_router.response import LLMRequest, LLMResponse, ToolCall

__all__ = ["PATH", "decode", "decoder", "encode", "failure", "streamed"]

PATH = "/chat/completions"


def encode(request: LLMRequest, model: str | None, max_tokens_field: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request. What the request leaves open is not sent.

    Args:
        request: What is asked.
        model: Model to name; None names none (a local server may serve only one).
        max_tokens_field: The field for the bound on tokens: newer models refuse the older name.
        extra: Fields merged in last, as they are: they replace what is there.

    Raises:
        InvalidRequestError: the schema is no JSON Schema, or `extra_body` asks for a stream.
    """
    options = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        max_tokens_field: request.max_tokens,
        "stop": request.stop,
        "seed": request.seed,
        "reasoning_effort": request.reasoning_effort,
        "tools": request.tools,
        "tool_choice": request.tool_choice,
        "response_format": _response_format(request),
    }
    body: dict[str, Any] = {} if model is None else {"model": model}
    body["messages"] = request.messages
    body.update((name, value) for name, value in options.items() if value is not None)
    body.update(extra)
    if "stream" in extra:
        raise InvalidRequestError("extra_body must not set stream: it decides how answers are read", sent=False)
    return body


def streamed(body: Mapping[str, Any], usage: bool) -> dict[str, Any]:
    """`body`, asking for the answer piece by piece, and if `usage`, for the tokens used at its end."""
    options = {"stream_options": {"include_usage": True}} if usage else {}
    return {**options, **body, "stream": True}


def decoder(reply: Reply, limit: int, end_mark: bool) -> ChatDecoder:
    """What reads the events that follow `reply`. See `Dialect.decoder`; the end mark is `[DONE]`."""
    return ChatDecoder(reply, limit, end_mark)


def decode(reply: Reply) -> LLMResponse:
    """The answer in the body of a 200.

    The finish reason may be missing, as a few small servers never send one; null is what the reference has for "still
    being written", and is no whole answer. Empty text is an answer; no text (null) is one only beside tool calls, or
    where the bound on tokens was used up before the first word.

    Raises:
        InvalidResponseError: it is no answer.
        ContentFilterError: it was refused; `response` holds what there is.
        LLMRouterError: an error came in place of an answer; of the type it stands for.
    """
    answer = decode_json(reply)
    if answer.get("error"):
        raise failure_within(reply, answer["error"])
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise invalid(reply, "without choices")
    choice: dict[str, Any] = choices[0]
    if choice.get("error"):
        raise failure_within(reply, choice["error"])
    message = choice.get("message")
    if not isinstance(message, dict):
        raise invalid(reply, "without a message")
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


def _check_whole(reply: Reply, choice: dict[str, Any], message: dict[str, Any], response: LLMResponse) -> None:
    refusal = string(message.get("refusal"))
    if refusal:
        raise refused(reply, refusal, response)
    reason = choice.get("finish_reason", "")
    if not isinstance(reason, str):
        raise invalid(reply, "not finished (finish_reason is no text)")
    failed = broken_off(reply, reason, response)
    if failed is not None:
        raise failed
    if message.get("content") is None and not response.tool_calls and reason != "length":
        raise invalid(reply, "without text and without tool calls")


def _tool_calls(reply: Reply, calls: Any) -> tuple[ToolCall, ...]:
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise invalid(reply, "malformed (tool_calls is not a list)")
    return tuple(_tool_call(reply, call, number) for number, call in enumerate(calls))


def _tool_call(reply: Reply, call: Any, number: int) -> ToolCall:
    function = mapping(call).get("function") or mapping(call).get("custom")
    name = string(mapping(function).get("name"))
    if name is None:
        raise invalid(reply, f"malformed (tool_calls[{number}] names no function)")
    arguments = arguments_text(mapping(function).get("arguments", mapping(function).get("input")))
    # Some local servers number no calls; the position will do to pair call and result.
    return ToolCall(id=string(call.get("id")) or f"call_{number}", name=name, arguments=arguments)


def _response_format(request: LLMRequest) -> dict[str, Any] | None:
    if request.schema is None:
        return {"type": "json_object"} if request.json_mode else None
    schema = _schema_of_class(request.schema) if isinstance(request.schema, type) else dict(request.schema)
    return {
        "type": "json_schema",
        "json_schema": {"name": _schema_name(schema), "schema": schema, "strict": strict_schema(schema) == schema},
    }


@lru_cache(maxsize=128)
def _schema_of_class(cls: type) -> dict[str, Any]:
    if not hasattr(cls, "model_json_schema"):
        raise InvalidRequestError(f"{cls.__name__} is no pydantic model", sent=False)
    try:
        return json_schema_of(cls)
    except PydanticUserError as error:
        raise InvalidRequestError(f"no JSON Schema for {cls.__name__}: {error.message}", sent=False) from error


def _schema_name(schema: Mapping[str, Any]) -> str:
    """A name of the letters the API allows (a-z, A-Z, 0-9, _ and -, 64 at most)."""
    title = schema.get("title")
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", title)[:64].strip("_") or "answer" if isinstance(title, str) else "answer"
