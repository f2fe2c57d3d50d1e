"""One exchange with a provider as plain data: the question, and the result. Without keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from hashlib import sha256
from typing import Any

from lee_llm_router._util.scrubbing import MASK, is_sensitive_parameter, scrub, secrets_in, text_of_exception
from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.providers.cache.answer_data import (
    answer_data,
    answer_of,
    details_data,
    details_of,
    embedding_data,
    embedding_of,
    usage_data,
    usage_of,
)
from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
from lee_llm_router.providers.json_schema import json_schema_of, type_name
from lee_llm_router.response.types import LLMRequest, LLMResponse, StreamChunk, ToolCallDelta

_NOT_ASKED = {"messages", "model", "role", "request_id", "metadata", "headers", "drop_unsupported", "inputs", "done"}
_LONG_WORD = 2000
"""Length from which a text without white space, such as a picture, is recorded as its digest."""
_ERROR_FIELDS = ("status_code", "retry_after")
_ERROR_FLAGS = ("final", "ask_again", "of_model", "local_shortage")


def request_data(provider: str, request: LLMRequest | EmbeddingRequest, secrets: Sequence[str]) -> dict[str, Any]:
    """Return the question to `provider`, in a cassette's form; two requests with equal data are equal.

    Args:
        provider: The provider's name in the configuration.
        request: The request.
        secrets: What must not appear in it.
    """
    data: dict[str, Any] = {"provider": provider}
    if request.model is not None:
        data["model"] = request.model
    options: dict[str, Any] = {}
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in _NOT_ASKED or value is None or value is False or value == {}:
            continue
        options[field.name] = _schema(value) if field.name == "schema" else value
    if query := options.get("extra_query"):
        options["extra_query"] = {key: MASK if is_sensitive_parameter(key) else value for key, value in query.items()}
    if options:
        data["options"] = options
    if isinstance(request, EmbeddingRequest):
        data["inputs"] = request.inputs
    else:
        data["messages"] = request.messages
    hidden = (*secrets, *secrets_in([request.extra_body, request.extra_query, request.headers]))
    found: dict[str, Any] = plain(data, partial(_shown, secrets=hidden))
    return found


def answer_entry(answer: Any, *, with_raw: bool) -> dict[str, Any]:
    """Return a whole answer, or embeddings, under a name that says which."""
    if isinstance(answer, EmbeddingResponse):
        data = embedding_data(answer)
        data["vectors"] = [json.dumps(vector) for vector in answer.vectors]
        return {"embeddings": data}
    entry: dict[str, Any] = {"answer": answer_data(answer)}
    if answer.cost_usd is not None:
        entry["answer"]["cost_usd"] = answer.cost_usd
    return entry | _raw_entry(answer.raw if with_raw else None)


def stream_entry(chunks: Sequence[StreamChunk], raw: Any) -> dict[str, Any]:
    """Return the pieces of a streamed answer, and its `raw` if wanted."""
    return {"chunks": [_chunk_data(chunk) for chunk in chunks]} | _raw_entry(raw)


def error_entry(error: Exception) -> dict[str, Any]:
    """Return a failure, under its name."""
    if not isinstance(error, LLMRouterError):
        kind = FailureType.TIMEOUT if isinstance(error, TimeoutError) else FailureType.UNKNOWN
        kind = FailureType.PROVIDER_ERROR if isinstance(error, OSError) and kind is FailureType.UNKNOWN else kind
        return {"error": {"type": kind.value, "message": text_of_exception(error)}}
    data: dict[str, Any] = {"type": error.failure_type.value, "message": error.message}
    data |= {name: value for name in _ERROR_FIELDS if (value := getattr(error, name)) is not None}
    data |= {name: True for name in _ERROR_FLAGS if getattr(error, name)}
    if not error.sent:
        data["sent"] = False
    if isinstance(error.response, LLMResponse):
        data["answer"] = answer_data(error.response)
    return {"error": data}


def answer_in(entry: Mapping[str, Any]) -> LLMResponse:
    """Return the whole answer of an exchange that has one.

    Raises:
        ValueError: it holds none that is readable.
    """
    data = dict(entry["answer"])
    cost = data.pop("cost_usd", None)
    answer = answer_of(data, raw_in(entry))
    return answer if cost is None else _with_cost(answer, cost)


def embeddings_in(entry: Mapping[str, Any]) -> EmbeddingResponse:
    """As `answer_in`, for embeddings."""
    data = dict(entry["embeddings"])
    data["vectors"] = [json.loads(vector) for vector in data["vectors"]]
    return embedding_of(data)


def chunks_in(entry: Mapping[str, Any]) -> list[StreamChunk]:
    """Return the pieces of a streamed answer; empty if it failed before the first.

    Raises:
        ValueError: they are not readable.
    """
    return [_chunk_of(data) for data in entry.get("chunks", ())]


def error_in(entry: Mapping[str, Any]) -> LLMRouterError | None:
    """Return the failure of an exchange; None if it did not fail."""
    data = entry.get("error")
    if data is None:
        return None
    details = {name: data[name] for name in (*_ERROR_FIELDS, *_ERROR_FLAGS, "sent") if name in data}
    if "answer" in data:
        details["response"] = answer_of(data["answer"])
    return error_for(FailureType(data["type"]), str(data["message"]), **details)


def raw_in(entry: Mapping[str, Any]) -> Any:
    """Return the vendor's own form of an answer, if it was recorded."""
    raw = entry.get("raw")
    return None if raw is None else json.loads(raw)


def plain(value: Any, change: Callable[[str], str]) -> Any:
    """Return `value` as lists, mappings, texts and numbers, each text changed by `change`."""
    if isinstance(value, str):
        return change(str(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, change) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return change(repr(value))


def masked(entry: dict[str, Any], secrets: Sequence[str]) -> dict[str, Any]:
    """Return `entry` as plain data without any of `secrets`."""
    found: dict[str, Any] = plain(entry, partial(scrub, secrets=secrets))
    return found


def _shown(text: str, secrets: Sequence[str]) -> str:
    if len(text) > _LONG_WORD and not any(character.isspace() for character in text[:_LONG_WORD]):
        digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"<{len(text)} characters, sha256 {digest[:16]}>"
    return scrub(text, secrets)


def _schema(schema: Any) -> Any:
    try:
        return json_schema_of(schema)
    except Exception:  # noqa: BLE001 - a type without a JSON Schema is told by its name
        return type_name(schema)


def _raw_entry(raw: Any) -> dict[str, Any]:
    if raw is None:
        return {}
    try:
        return {"raw": json.dumps(raw, ensure_ascii=False)}
    except (TypeError, ValueError, RecursionError):  # a third-party provider may put anything there
        return {}


def _with_cost(answer: LLMResponse, cost: float) -> LLMResponse:
    from lee_llm_router.response.types import with_cost  # noqa: PLC0415 - few recorded answers name a cost

    return with_cost(answer, cost)


def _chunk_data(chunk: StreamChunk) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name in ("text", "reasoning", "finish_reason", "model", "cost_usd", "output_in_raw"):
        if value := getattr(chunk, name):
            data[name] = value
    if chunk.tool_calls:
        data["tool_calls"] = [
            {f.name: item for f in fields(call) if (item := getattr(call, f.name)) not in (None, "")}
            for call in chunk.tool_calls
        ]
    if chunk.usage is not None:
        data["usage"] = usage_data(chunk.usage)
    if chunk.details is not None:
        data["details"] = details_data(chunk.details)
    return data | (_raw_entry(chunk.raw) if chunk.output_in_raw else {})


def _chunk_of(data: Mapping[str, Any]) -> StreamChunk:
    found = dict(data)
    if "tool_calls" in found:
        found["tool_calls"] = tuple(ToolCallDelta(**call) for call in found["tool_calls"])
    if "usage" in found:
        found["usage"] = usage_of(found["usage"])
    if "details" in found:
        found["details"] = details_of(found["details"])
    if "raw" in found:
        found["raw"] = json.loads(found["raw"])
    try:
        return StreamChunk(**found)
    except TypeError as error:
        raise ValueError("a piece of a stream has an unknown field") from error
