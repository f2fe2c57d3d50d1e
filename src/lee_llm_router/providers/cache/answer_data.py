"""Converts answers to plain data and back, for caches and cassettes.

The data has the answer's content: texts, tool calls, usage, `details`. It omits what belongs to the exchange or the
call: headers, sizes, ids of the call, its cost. Somebody else may have written what is read, so it counts as an answer
only if every part has the right type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from lee_llm_router.providers.embeddings import EmbeddingResponse
from lee_llm_router.response.details import NO_DETAILS, AnswerDetails, Citation, NativeTurn, TokenLogprob
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, ToolCall, make_response

_USAGE = tuple(f.name for f in fields(LLMUsage))


def answer_data(answer: LLMResponse) -> dict[str, Any]:
    """Return a whole answer as plain data, without its `raw` and without unset fields."""
    data: dict[str, Any] = {"text": answer.text}
    if answer.tool_calls:
        data["tool_calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in answer.tool_calls]
    for name in ("reasoning", "finish_reason", "model"):
        if (value := getattr(answer, name)) is not None:
            data[name] = value
    if answer.usage:
        data["usage"] = usage_data(answer.usage)
    if answer.details is not NO_DETAILS and (details := details_data(answer.details)):
        data["details"] = details
    return data


def answer_of(data: Mapping[str, Any], raw: Any = None, *, cached: bool = False) -> LLMResponse:
    """Return the answer in `data`, which `answer_data` has made.

    Args:
        data: The answer.
        raw: Its `raw`; it may be a `Deferred`.
        cached: Whether the answer comes from a cache, and costs nothing.

    Raises:
        ValueError: it is not an answer.
    """
    details, usage, calls = data.get("details"), data.get("usage"), data.get("tool_calls")
    return make_response(
        text=_text(data.get("text", "")),
        tool_calls=tuple(map(_tool_call, _list(calls))) if calls else (),
        reasoning=_word(data.get("reasoning")),
        finish_reason=_word(data.get("finish_reason")),
        model=_word(data.get("model")),
        usage=usage_of(usage) if usage else UNREPORTED,
        details=details_of(details) if details else NO_DETAILS,
        raw=raw,
        cached=cached,
        cost_usd=0.0 if cached else None,
    )


def embedding_data(answer: EmbeddingResponse) -> dict[str, Any]:
    """Return embeddings as plain data."""
    data: dict[str, Any] = {"vectors": answer.vectors}
    if answer.model is not None:
        data["model"] = answer.model
    if answer.usage:
        data["usage"] = usage_data(answer.usage)
    return data


def embedding_of(data: Mapping[str, Any], *, cached: bool = False) -> EmbeddingResponse:
    """Return the embeddings in `data`, which `embedding_data` has made. The caller checks the vectors.

    Raises:
        ValueError: it holds no embeddings.
    """
    usage = data.get("usage")
    return EmbeddingResponse(
        vectors=tuple(tuple(_list(vector)) for vector in _list(data.get("vectors"))),
        usage=usage_of(usage) if usage else UNREPORTED, model=_word(data.get("model")), cached=cached,
        cost_usd=0.0 if cached else None,
    )  # fmt: skip


def usage_data(usage: LLMUsage) -> dict[str, int]:
    """Return the reported numbers."""
    return {name: number for name in _USAGE if (number := getattr(usage, name)) is not None}


def usage_of(data: Any) -> LLMUsage:
    """Return the usage in `data`; unknown names, which another version may have written, are ignored."""
    known = {name: data[name] for name in _USAGE if name in _mapping(data)}
    if not all(type(number) is int for number in known.values()):
        raise ValueError("a number of tokens is wanted")
    return LLMUsage(**known)


def details_data(details: AnswerDetails) -> dict[str, Any]:
    """Return the non-empty fields of `details`."""
    data: dict[str, Any] = {}
    for name in ("id", "service_tier", "finish_reason"):
        if (value := getattr(details, name)) is not None:
            data[name] = value
    if details.parts:
        data["parts"] = list(details.parts)
    if details.citations:
        data["citations"] = [_set_fields(citation) for citation in details.citations]
    if details.logprobs:
        data["logprobs"] = [{"token": t.token, "logprob": t.logprob, "top": t.top} for t in details.logprobs]
    if details.native is not None:
        data["native"] = _set_fields(details.native)
    return data


def details_of(data: Any) -> AnswerDetails:
    """Return the details in `data`.

    Raises:
        ValueError: they are not details.
    """
    data = _mapping(data)
    native = data.get("native")
    return AnswerDetails(
        id=_word(data.get("id")),
        service_tier=_word(data.get("service_tier")),
        finish_reason=_word(data.get("finish_reason")),
        parts=tuple(map(_mapping, _list(data.get("parts", ())))),
        citations=tuple(_made(Citation, one) for one in _list(data.get("citations", ()))),
        logprobs=tuple(map(_logprob, _list(data.get("logprobs", ())))),
        native=None if native is None else _made(NativeTurn, native),
    )


def _logprob(data: Any) -> TokenLogprob:
    data = _mapping(data)
    try:
        top = tuple((_text(token), float(number)) for token, number in data.get("top", ()))
        return TokenLogprob(token=_text(data.get("token")), logprob=float(data["logprob"]), top=top)
    except (TypeError, KeyError) as error:
        raise ValueError("the probability of a token is wanted") from error


def _tool_call(data: Any) -> ToolCall:
    data = _mapping(data)
    return ToolCall(id=_text(data.get("id")), name=_text(data.get("name")), arguments=_text(data.get("arguments")))


def _set_fields(value: Any) -> dict[str, Any]:
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    return {name: item for name, item in found.items() if item is not None}


def _made(cls: Callable[..., Any], data: Any) -> Any:
    try:
        return cls(**_mapping(data))
    except TypeError as error:
        raise ValueError("an unknown field") from error


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("text is wanted")
    return value


def _word(value: Any) -> str | None:
    return None if value is None else _text(value)


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list is wanted")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("an object is wanted")
    return value
