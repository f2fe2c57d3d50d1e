"""The fields of a row's line in the output or in the errors file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from pydantic_core import to_jsonable_python

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.frozen import maker
from lee_llm_router.batch.rows import BatchRow, BrokenRow
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.response.types import LLMResponse, LLMUsage
from lee_llm_router.telemetry.record_json import json_text

BROKEN_ROW = "BROKEN_ROW"
"""Failure type, in the errors file, of a row that could not be read and was never sent."""
_FIRST_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
_MORE_USAGE = tuple(field.name for field in fields(LLMUsage) if field.name not in _FIRST_USAGE)
_first_of, _more_of = attrgetter(*_FIRST_USAGE), attrgetter(*_MORE_USAGE)
_NO_MORE = (None,) * len(_MORE_USAGE)


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """How a row ended: with its answer, or with an error of its own."""

    id: str | None
    """The row's id; None for a broken row without one."""
    is_answer: bool
    fields: Mapping[str, Any]
    """The contents of its line, including `id`."""

    def line(self) -> bytes:
        """Return its line of JSON, with the newline."""
        return json_text(self.fields) + b"\n"

    def plain_fields(self) -> dict[str, Any]:
        """Return its fields as plain JSON values, for another process; `RowOutcome.of_fields` takes them."""
        plain: dict[str, Any] = to_jsonable_python(dict(self.fields), inf_nan_mode="null", fallback=repr)
        return plain

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> RowOutcome:
        """Return the outcome whose line contains `fields`."""
        return cls(fields.get("id"), "error" not in fields, fields)


_made_outcome = maker(RowOutcome)


def answer_of(row: BatchRow, response: LLMResponse[Any]) -> RowOutcome:
    """Return the outcome of an answered row. Each line has the same fields, null if there is no value."""
    usage = response.usage
    return _made_outcome(row.id, True, {
        "id": row.id,
        "text": response.text,
        "parsed": response.parsed,
        "tool_calls": _calls(response) if response.tool_calls else [],
        "finish_reason": response.finish_reason,
        "provider": response.provider,
        "model": response.model,
        "usage": usage_fields(usage) if usage else None,
        "cost_usd": response.cost_usd,
        "request_id": response.request_id,
    })  # fmt: skip


def _calls(response: LLMResponse[Any]) -> list[dict[str, str]]:
    return [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in response.tool_calls]


def usage_fields(usage: LLMUsage) -> dict[str, int]:
    """Return the reported tokens, by name."""
    first, more = _first_of(usage), _more_of(usage)
    if more == _NO_MORE and None not in first:  # most often so: 0.4 us instead of 1.2
        return dict(zip(_FIRST_USAGE, first, strict=True))
    found = zip((*_FIRST_USAGE, *_MORE_USAGE), (*first, *more), strict=True)
    return {name: value for name, value in found if value is not None}


def failure_of(row: BatchRow, error: LLMRouterError) -> RowOutcome:
    """Return the outcome of a row whose call has finally failed. `text` holds the part of an answer that came."""
    return RowOutcome(row.id, False, {
        "id": row.id,
        "line": row.line,
        "error": error.failure_type.value,
        "message": error.message,
        "status_code": error.status_code,
        "provider": error.provider,
        "model": error.model,
        "text": error.response.text if error.response is not None else None,
        "request_id": error.request_id,
    })  # fmt: skip


def broken_outcome(row: BrokenRow) -> RowOutcome:
    """Return the outcome of a row that could not be read. It has the same fields as any other failure."""
    return RowOutcome(row.id, False, {
        "id": row.id, "line": row.line, "error": BROKEN_ROW, "message": row.reason, "status_code": None,
        "provider": None, "model": None, "text": None, "request_id": None,
    })  # fmt: skip
