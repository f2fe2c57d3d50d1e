"""What a store receives of a record: a shortened one, one without what must not be stored, or nothing.

How this works
--------------
The settings `capture: none`, `redact` and `sample` of a configuration, and the `redact` of an application, affect only
the store: observers and hooks see every record unchanged.

Calls are sampled by id, so every process keeps either all records of a call or none. A call outside the sample is
dropped only if its first attempt succeeded. A record of a failure, a cancellation or a skipped target is written at
once, and so is the rest of its call; the ids of such calls are remembered until they end. So no record has to wait for
the end of its call. A sampled call records the share (`kept_share`), so that counts can tell how many calls it stands
for; the other kept calls are complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.scrubbing import MASK
from lee_llm_router._util.text_pattern import TextMask, compile_mask
from lee_llm_router._util.work_limit import MOST_STEPS, WorkLimit, WorkLimitError
from lee_llm_router.telemetry.record_json import json_object, json_text, plain_value
from lee_llm_router.telemetry.records import TraceRecord

if TYPE_CHECKING:
    from lee_llm_router.telemetry.settings import TraceConfig

Redact: TypeAlias = Callable[[str], str]
"""Returns a text in storable form. If it raises, nothing of that text is stored."""
KeptRecord: TypeAlias = Callable[[TraceRecord], TraceRecord | None]
"""Returns what a store receives of a record; None if nothing."""

_TEXTS = ("error", "reason", "waited_for", "asked_role", "workspace", "text", "reasoning")
_LISTS = ("messages", "tools", "tool_calls")
_FIELD = re.compile(r"[a-z][a-z_]{0,40}")
"""Names of fields in a message or a tool; readers need them, and they reveal nothing about anyone."""
_NOTHING: dict[str, Any] = {"metadata": {}, "error": None, "reason": None, "asked_role": None, "workspace": None}
_MOST_OPEN = 10_000
"""Open calls with a failure, whose ids are remembered."""
_LONGEST = 0.25
"""Seconds that one pattern may take for one text."""
_STEPS = 100 * MOST_STEPS


def kept_records(trace: TraceConfig, redact: Redact | None = None) -> KeptRecord | None:
    """Return what the section `trace` of a configuration, and an application's `redact`, make of records.

    Returns:
        The function; None if records are stored unchanged.
    """
    sampler = Sampler(trace.sample) if trace.sample < 1 else None
    mask = TextRedaction(trace.redact, redact) if trace.redact or redact is not None else None
    if sampler is None and mask is None and trace.capture != "none":
        return None

    def kept(record: TraceRecord) -> TraceRecord | None:
        if sampler is not None:
            drawn = sampler.kept(record)
            if drawn is None:
                return None
            record = drawn
        if trace.capture == "none":
            record = replace(record, **_NOTHING)
        return record if mask is None else mask.applied(record)

    return kept


class Sampler:
    """Samples calls: keeps about `share` of those whose first attempt succeeded, and all others."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._open: dict[str, None] = {}
        self._lock = ForkLock(reentrant=True)

    def kept(self, record: TraceRecord) -> TraceRecord | None:
        """Return `record` in its kept form, None if it is dropped. Called for each record of a call, in order."""
        name = record.request_id
        if record.outcome != "ok" or record.verdict != "return":
            with self._lock:
                self._open.pop(name, None)
                if record.verdict in ("retry", "next"):
                    self._open[name] = None
                    if len(self._open) > _MOST_OPEN:
                        del self._open[next(iter(self._open))]
            return record
        if name in self._open:
            with self._lock:
                self._open.pop(name, None)
            return record
        if self._share >= 1:
            return record
        return replace(record, kept_share=self._share) if self._draws(name) else None

    def _draws(self, name: str) -> bool:
        return crc32(name.encode(errors="replace")) < self._share * 2**32


class TextRedaction:
    """Masks the texts of records.

    Args:
        patterns: What to mask, as regular expressions.
        redact: Changes the rest. If it raises, the text is masked as a whole, and nobody gets the error.
    """

    def __init__(self, patterns: Sequence[str], redact: Redact | None) -> None:
        self._masks: tuple[TextMask, ...] = tuple(compile_mask(pattern) for pattern in patterns)
        self._redact = redact

    def applied(self, record: TraceRecord) -> TraceRecord:
        """Return `record` with its texts in storable form. Names of roles, providers and models stay."""
        limit = WorkLimit(_STEPS, longest=_LONGEST)

        def change(text: str) -> str:
            return self._changed(text, limit)

        changed: dict[str, Any] = {}
        for name in _TEXTS:
            text = getattr(record, name)
            if text is not None:
                changed[name] = change(text)
        for name in _LISTS:
            items = getattr(record, name)
            if items is not None:
                items = [_with_plain_arguments(item) for item in items] if name == "tool_calls" else list(items)
                changed[name] = tuple(_changed_texts(plain_value(items, None), change))
        if record.settings:
            changed["settings"] = _changed_texts(plain_value(record.settings, None), change)
        if record.metadata:
            changed["metadata"] = plain_value(record.metadata, None, change)
        return replace(record, **changed)

    def _changed(self, text: str, limit: WorkLimit) -> str:
        try:
            for mask in self._masks:
                text = mask.masked(text, MASK, limit)
            if self._redact is None:
                return text
            text = self._redact(text)
        except WorkLimitError:
            return MASK
        except Exception:  # noqa: BLE001 - the application's own, and it may quote the text
            return MASK
        return text if isinstance(text, str) else MASK


def _changed_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return `value`, of plain JSON types, with all its texts changed, and all names in it that are not names of
    fields."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {
            name if _FIELD.fullmatch(name) else change(name): _changed_texts(item, change)
            for name, item in value.items()
        }
    return [_changed_texts(item, change) for item in value] if isinstance(value, list) else value


def _with_plain_arguments(call: Any) -> Any:
    """Return a tool call with plain letters in its arguments instead of escapes like ``\\u00e9``."""
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(arguments, str) or "\\u" not in arguments:
        return call
    try:
        return {**call, "arguments": json_text(json_object(arguments)).decode()}
    except ValueError:
        return call
