"""The captured content of a record as the arguments of another call; and how that differs from the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import MASK
from lee_llm_router.cli.asking.options import CALL_ARGUMENTS
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.record_json import json_text
from lee_llm_router.telemetry.records import TraceRecord

_CUT = "..."
_SHORTENED_FROM = 140_000
"""Size in bytes of the shortest captured JSON that a store may have shortened."""
_OF_ONE_VENDOR = ("extra_body", "extra_query", "headers")
_MAX_DEPTH = 60


class CannotReplayError(Exception):
    """A call cannot be repeated, for the reason in the message."""


@dataclass(slots=True)
class ReplayRequest:
    """A question to repeat."""

    messages: list[dict[str, Any]]
    options: dict[str, Any]
    stream: bool
    notes: list[str] = field(default_factory=list)
    """Differences from the original question."""


def replay_request(call: TracedCall, provider: str | None) -> ReplayRequest:
    """Return the question of `call`, for `provider`.

    Args:
        call: The call.
        provider: The name in the configuration of the first provider to ask now; None if unknown.

    Raises:
        CannotReplayError: it was not captured, or not completely, or was not a chat completion.
    """
    asked = _captured(call)
    # Others may have written the trace; the call itself refuses an option that no call has.
    settings = {name: value for name, value in (asked.settings or {}).items() if name not in CALL_ARGUMENTS}
    notes = []
    if provider != asked.provider:
        foreign = [name for name in _OF_ONE_VENDOR if settings.pop(name, None)]
        if foreign:
            notes.append(f"not sent again, because it is only for {asked.provider}: {', '.join(foreign)}")
    elif _holds(settings.get("headers"), MASK):
        del settings["headers"]
        notes.append("not sent again: headers, because a key in them was masked")
    if "schema" in settings and not isinstance(settings["schema"], Mapping):
        del settings["schema"]
        notes.append("not sent again: the schema, which was a Python type of the program")
    if _holds([asked.messages, asked.tools, settings], MASK):
        notes.append(f"what was kept holds {MASK}: if that replaced a key or another text, the question"
                     " is a different one")  # fmt: skip
    options = {**settings, "drop_unsupported": True}
    if asked.tools:
        options["tools"] = list(asked.tools)
    messages = [dict(message) for message in asked.messages or ()]
    return ReplayRequest(messages, options, asked.stream, notes)


def _captured(call: TracedCall) -> TraceRecord:
    """Return the record of the first attempt, which has the caller's original question."""
    if call.records[0].operation is not None:
        raise CannotReplayError(f"it was not a chat completion but: {call.records[0].operation}")
    asked = next((record for record in call.records if record.messages is not None), None)
    if asked is None:
        if not call.attempts:
            raise CannotReplayError("no target was asked in this call, so no question was kept")
        raise CannotReplayError(
            "its question was not kept; to keep the questions of later calls, set `trace: {capture: full}` in the"
            " configuration"
        )
    if not asked.messages:
        raise CannotReplayError("its question was kept without a message")
    for name in ("messages", "tools", "settings"):
        if _is_shortened(getattr(asked, name)):
            raise CannotReplayError(
                f"its {name} were too long to be kept completely; the rest would be a different question"
            )
    return asked


def _is_shortened(value: Any) -> bool:
    """Whether a store has kept only the beginning of `value`: it is long, and a text or a part in it ends that way."""
    if len(json_text(value)) < _SHORTENED_FROM:
        return any(isinstance(item, str) and item == _CUT for item in value or ())
    return any(text.endswith(_CUT) for text in _texts(value, 0))


def _holds(value: Any, needle: str) -> bool:
    return any(needle in text for text in _texts(value, 0))


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < _MAX_DEPTH and isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, depth + 1)
