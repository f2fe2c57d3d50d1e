"""What a record has captured, as the arguments of another call; and what of it is no longer what was asked."""

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
"""Bytes of the shortest JSON of what was captured that a store may have shortened."""
_OF_ONE_VENDOR = ("extra_body", "extra_query", "headers")
_MAX_DEPTH = 60


class CannotReplayError(Exception):
    """A call cannot be asked again, for the reason that the message says."""


@dataclass(slots=True)
class ReplayRequest:
    """A question to be asked again."""

    messages: list[dict[str, Any]]
    options: dict[str, Any]
    stream: bool
    notes: list[str] = field(default_factory=list)
    """What differs from the question as it was asked."""


def replay_request(call: TracedCall, provider: str | None) -> ReplayRequest:
    """Return the question of `call`, to be asked of `provider`.

    Args:
        call: The call.
        provider: Who is asked first now, by its name in the configuration; None if that is not known.

    Raises:
        CannotReplayError: it was not captured, or not whole, or was no chat completion.
    """
    asked = _captured(call)
    # Others may have written the trace; an option that no call has is refused by the call itself.
    settings = {name: value for name, value in (asked.settings or {}).items() if name not in CALL_ARGUMENTS}
    notes = []
    if provider != asked.provider:
        foreign = [name for name in _OF_ONE_VENDOR if settings.pop(name, None)]
        if foreign:
            notes.append(f"not asked for again, since it is for {asked.provider} alone: {', '.join(foreign)}")
    elif _holds(settings.get("headers"), MASK):
        del settings["headers"]
        notes.append("not sent again: headers, since a key in them was masked")
    if "schema" in settings and not isinstance(settings["schema"], Mapping):
        del settings["schema"]
        notes.append("not asked for again: the schema, which was a type of the program")
    if _holds([asked.messages, asked.tools, settings], MASK):
        notes.append(f"what was kept holds {MASK}: where that stands for a key or a text that was masked, the question"
                     " is another one")  # fmt: skip
    options = {**settings, "drop_unsupported": True}
    if asked.tools:
        options["tools"] = list(asked.tools)
    messages = [dict(message) for message in asked.messages or ()]
    return ReplayRequest(messages, options, asked.stream, notes)


def _captured(call: TracedCall) -> TraceRecord:
    """Return the record of the first attempt, which has the question as the caller asked it."""
    if call.records[0].operation is not None:
        raise CannotReplayError(f"it was no chat completion, but: {call.records[0].operation}")
    asked = next((record for record in call.records if record.messages is not None), None)
    if asked is None:
        if not call.attempts:
            raise CannotReplayError("no target was asked in this call, so no question was kept")
        raise CannotReplayError(
            "its question was not kept; for calls from now on, set `capture: full` in the section `trace` of the"
            " configuration"
        )
    if not asked.messages:
        raise CannotReplayError("its question was kept without a message")
    for name in ("messages", "tools", "settings"):
        if _is_shortened(getattr(asked, name)):
            raise CannotReplayError(f"its {name} were too long to be kept whole; the rest would be another question")
    return asked


def _is_shortened(value: Any) -> bool:
    """Whether a store has kept only the beginning of `value`: it is long, and a text or a part in it ends so."""
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
