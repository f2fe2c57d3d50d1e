"""Calls as rows of plain values, so short that a page can hold 100,000 of them.

A row is a list; `_call_row` and `_attempt_row` define its positions, and `decode.js` reads it. Repeated texts (roles,
models, errors) are in a table of names, and a row has their numbers. What concerns a whole call comes from
`TracedCall`, so that the page agrees with every other view.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router.telemetry.calls import TracedCall, believed, parsed_time
from lee_llm_router.telemetry.record_json import json_text, plain_value
from lee_llm_router.telemetry.records import TraceRecord

OUTCOMES = ("ok", "error", "cancelled", "unfinished")
_LONGEST_NAME = 2000
"""Characters of an error or a name in a row."""
_METADATA_SIZE = 2000
_TEXT_SIZE = 60_000
"""Characters of the prompt, and as many of the answer, that a page keeps of one call."""
MAX_TEXT = 30_000_000
"""Characters of all captured texts of a page. Those of further calls are left out, and the page says so."""


@dataclass
class CallRows:
    """Calls as rows, with the names and captured texts that they refer to."""

    names: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    """As JSON, which takes a tenth of the memory."""
    texts: list[str] = field(default_factory=list)
    """The captured texts of calls, as JSON."""
    left_out: int = 0
    """Calls whose captured texts did not fit."""
    _numbers: dict[str, int] = field(default_factory=dict)
    _text_size: int = 0

    def add(self, call: TracedCall) -> None:
        """Append a row for `call`."""
        self.rows.append(_json(self._call_row(call)))

    def _call_row(self, call: TracedCall) -> list[Any]:
        name, shown, started = self._name, call.answered_by or _last_asked(call), call.started
        flags = call.is_saved | call.is_cut << 1 | call.last.stream << 2 | call.is_cost_whole << 3
        row = [
            _short(call.request_id),
            None if started is None else round(started.timestamp() * 1000),
            name(call.role),
            OUTCOMES.index(call.outcome),
            flags,
            name(call.last.finish_reason),
            name(shown.provider),
            name(shown.served_model or shown.model),
            call.tried,
            _rounded(call.total_ms),
            _rounded(call.first_token_ms),
            call.input_tokens,
            call.output_tokens,
            call.tokens,
            _rounded(call.cost_usd, 9),
            name(call.last.failure_type),
            name(_metadata(call.records[0].metadata)),
            name(call.last.policy),
            name(call.records[0].asked_role),
            name(call.last.operation),
            self._texts_of(call),
            [self._attempt_row(call, record) for record in call.records],
        ]
        if call.stands_for != 1:
            row.append(_rounded(call.stands_for, 6))
        return row

    def _attempt_row(self, call: TracedCall, record: TraceRecord) -> list[Any]:
        name, usage = self._name, record.usage
        row = [
            _count(record.attempt),
            name(record.provider),
            name(record.model),
            name(record.served_model),
            _offset(call, record),
            _rounded(record.elapsed_ms),
            _rounded(record.first_token_ms),
            name(record.outcome),
            name(record.verdict),
            name(record.failure_type),
            _status(record.status_code),
            name(record.error),
            _rounded(record.wait_ms),
            name(record.waited_for),
            name(record.reason),
            name(record.finish_reason),
            *(_counts(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens)
              if usage else (None,) * 4),
            _rounded(record.cost_usd, 9),
            name(record.cost_source),
            name(record.service_tier),
            _rounded(record.retry_after),
            name(record.provider_request_id),
            name(", ".join(map(str, record.dropped)) or None),
            int(record.sent),
        ]  # fmt: skip
        while row and row[-1] is None:
            row.pop()
        return row

    def _name(self, text: object) -> int | None:
        """Return the number of `text` in the table of names."""
        if text is None:
            return None
        text = _short(text)
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.names)
            self.names.append(text)
        return number

    def _texts_of(self, call: TracedCall) -> int | None:
        captured = _captured(call)
        if captured is None:
            return None
        if self._text_size + len(captured) > MAX_TEXT:
            self.left_out += 1
            return None
        self._text_size += len(captured)
        self.texts.append(captured)
        return len(self.texts) - 1


def rows_of(calls: Iterable[TracedCall]) -> CallRows:
    """Return `calls` as rows, in their order."""
    rows = CallRows()
    for call in calls:
        rows.add(call)
    return rows


def _captured(call: TracedCall) -> str | None:
    """Return the captured texts of `call` as JSON; None if there are none."""
    asked = next((record for record in call.records if record.messages is not None), None)
    fields: Mapping[str, Any] = {}
    if asked is not None:
        fields = {"messages": asked.messages, "tools": asked.tools, "settings": asked.settings}
    answers = [
        {"at": at, "text": record.text, "reasoning": record.reasoning, "tool_calls": record.tool_calls}
        for at, record in enumerate(call.records)
        if record.text is not None or record.reasoning is not None or record.tool_calls is not None
    ]
    if asked is None and not answers:
        return None
    bounded = plain_value(fields, _TEXT_SIZE) | {"answers": plain_value(answers, _TEXT_SIZE)}
    return json_text(bounded).decode()


def _last_asked(call: TracedCall) -> TraceRecord:
    """Return the record of the last target that was asked; if none was, the first record."""
    return (call.attempts or call.records)[-1 if call.attempts else 0]


def _offset(call: TracedCall, record: TraceRecord) -> float:
    """Return the milliseconds from the start of the call to the start of the attempt."""
    if record.offset_ms is not None:
        return _rounded(record.offset_ms) or 0
    began, started = call.started, parsed_time(record.started_at)
    if began is None or started is None:
        return 0
    return _rounded(max(0.0, (started - began).total_seconds() * 1000)) or 0


def _metadata(metadata: Mapping[str, Any]) -> str | None:
    if not metadata:
        return None
    return json_text(plain_value(metadata, _METADATA_SIZE)).decode()


def _json(row: Sequence[Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME] + "…"


def _rounded(number: float | None, digits: int = 1) -> float | None:
    if number is None:
        return None
    rounded = round(believed(number), digits)
    return int(rounded) if rounded == int(rounded) else rounded


def _count(number: int | None) -> int | None:
    return None if number is None else believed(number)


def _counts(*numbers: int | None) -> Sequence[int | None]:
    return [_count(number) for number in numbers]


def _status(number: int | None) -> int | None:
    """Return a status code, or a negative exit code; None for a value that is neither."""
    return number if number is not None and abs(number) <= MAX_COUNT else None
