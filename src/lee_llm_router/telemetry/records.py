"""What the router tells: a record for every attempt, an event for every step.

A `TraceStore` receives `TraceRecord`s, an `EventSink` receives `RouterEvent`s. Both are protocols: any object with
the method will do. Both are called inline, so they must be quick; what they raise never reaches the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic_core import SchemaSerializer, core_schema, from_json, to_json, to_jsonable_python

from lee_llm_router._util.frozen import fast_init
from lee_llm_router._util.log import logger
from lee_llm_router.response import LLMUsage

SCHEMA_VERSION = 1

Outcome: TypeAlias = Literal["ok", "error", "cancelled", "skipped"]
Verdict: TypeAlias = Literal["return", "retry", "next", "raise"]
TokenUsageHook: TypeAlias = Callable[[LLMUsage, str, str], None]
"""`on_token_usage(usage, role, provider)`: called once for each attempt that reports usage."""


def target_name(provider: str | None, model: str | None) -> str:
    """``provider/model`` for people; a dash where no target was involved."""
    if provider is None:
        return "-"
    return f"{provider}/{model}" if model else provider


@fast_init
@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord:
    """One attempt (schema 1). A call that ends outside an attempt leaves one record with ``attempt=None``."""

    schema: int = SCHEMA_VERSION
    request_id: str
    """The call's id, a UUIDv7: sorts by time."""
    attempt: int | None
    """Counts from 0 over the call."""
    target_attempt: int | None = None
    """Counts from 0 at the target."""
    sent: bool = False
    """False: certainly nothing went out to the provider. True: something may have."""
    role: str
    provider: str | None = None
    provider_type: str | None = None
    model: str | None = None
    served_model: str | None = None
    policy: str | None = None
    started_at: str
    """UTC, ISO 8601 with microseconds and a Z."""
    elapsed_ms: float = 0.0
    first_token_ms: float | None = None
    outcome: Outcome
    failure_type: str | None = None
    status_code: int | None = None
    error: str | None = None
    """What the failure said, scrubbed of secrets and bounded."""
    retry_after: float | None = None
    """Seconds, as the vendor gave it."""
    verdict: Verdict
    """What the router did next."""
    wait_ms: float = 0.0
    """The wait that follows this attempt."""
    stream: bool = False
    finish_reason: str | None = None
    usage: LLMUsage | None = None
    cost_usd: float | None = None
    request_bytes: int | None = None
    response_chars: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    workspace: str | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    """Only with ``capture: full``."""
    text: str | None = None
    """Only with ``capture: full``."""

    @property
    def target(self) -> str:
        """``provider/model`` for people; a dash where no target was involved."""
        return target_name(self.provider, self.model)

    def to_json(self) -> bytes:
        """The record as one line of JSON, without the newline.

        Every field of the schema is present, null where nothing is known; `messages` and `text` only if captured.
        Never fails: what JSON cannot hold (lone surrogates, objects, cycles) is written in a readable stand-in.
        """
        exclude = _CAPTURED if self.messages is None and self.text is None else None
        try:
            if exclude and type(self) is TraceRecord:
                return _uncaptured(self, warnings=False)
            return to_json(self, exclude=exclude, inf_nan_mode="null")
        except Exception:  # noqa: BLE001 - metadata may hold anything, and what it does when looked at is not ours
            plain: dict[str, Any] = _plain(self)
            return to_json({name: plain[name] for name in plain if name not in (exclude or ())}, inf_nan_mode="null")

    @classmethod
    def from_json(cls, line: bytes | str) -> TraceRecord:
        """The record written in `line`, also by a newer or older version of this library.

        Unknown fields are passed over; a field that is missing or of another type than here has its default.

        Raises:
            ValueError: not a JSON object, or a field is missing that has no default.
        """
        try:
            data = from_json(line)
        except ValueError:
            # The quick parser stops at 200 levels and the writer does not.
            data = _parse_slowly(line)
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        known = _known_fields(cls, data)
        if known.get("usage") is not None:
            known["usage"] = LLMUsage(**_known_fields(LLMUsage, known["usage"]))
        if known.get("messages") is not None:
            known["messages"] = tuple(known["messages"])
        try:
            return cls(**known)
        except TypeError as error:
            raise ValueError(f"not a trace record: {error}") from None


_CAPTURED = {"messages", "text"}
_MAX_DEPTH = 50
"""Levels of nesting kept when a record is written in its stand-in form; more is a cycle or a mistake."""

_JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "Outcome": str, "Verdict": str,
    "LLMUsage": dict, "Mapping[str, Any]": dict, "Sequence[Mapping[str, Any]]": list,
}  # fmt: skip
"""What JSON has for each annotation used by the classes read here."""


_Fields: TypeAlias = tuple[tuple[str, type | tuple[type, ...], bool], ...]


def _fields_of(cls: type[Any]) -> _Fields:
    """The fields of `cls`: name, what JSON has for it, and whether it may be null."""
    notes = [(f.name, str(f.type)) for f in fields(cls)]
    return tuple((name, _JSON_TYPES[note.removesuffix(" | None")], note.endswith(" | None")) for name, note in notes)


_FIELDS: dict[type[Any], _Fields] = {cls: _fields_of(cls) for cls in (TraceRecord, LLMUsage)}


def _known_fields(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `data` that are fields of `cls` and hold what such a field may hold."""
    known = {}
    for name, kind, optional in _FIELDS.get(cls) or _fields_of(cls):
        value = data.get(name)
        if value is None:
            fits = optional and name in data
        else:
            fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
        if fits:
            known[name] = value
    return known


def _schema_of(cls: type[Any], without: Set[str] = frozenset()) -> core_schema.CoreSchema:
    """What a serializer has to know of `cls`: knowing it beforehand halves the price of writing an object.

    An object that holds something else than its class says is written all the same.
    """
    plain: dict[Any, core_schema.CoreSchema] = {
        str: core_schema.str_schema(), int: core_schema.int_schema(), bool: core_schema.bool_schema(),
        (int, float): core_schema.float_schema(), list: core_schema.any_schema(), dict: core_schema.any_schema(),
    }  # fmt: skip
    names, entries = [], []
    for name, kind, _ in _fields_of(cls):
        if name not in without:
            schema = _schema_of(LLMUsage) if name == "usage" else plain[kind]
            names.append(name)
            entries.append(core_schema.dataclass_field(name, core_schema.nullable_schema(schema)))
    return core_schema.dataclass_schema(
        cls, core_schema.dataclass_args_schema(cls.__name__, entries), names, slots=True
    )


_uncaptured = SchemaSerializer(
    _schema_of(TraceRecord, without=_CAPTURED), core_schema.CoreConfig(ser_json_inf_nan="null")
).to_json


def _parse_slowly(line: bytes | str) -> Any:
    import json  # noqa: PLC0415 - one line in very many needs it

    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_text(value: Any, indent: int | None = None) -> bytes:
    """`value` as JSON. Never fails: what JSON cannot hold is written in a readable stand-in."""
    try:
        return to_json(value, indent=indent, inf_nan_mode="null")
    except Exception:  # noqa: BLE001 - as in `TraceRecord.to_json`
        return to_json(_plain(value), indent=indent, inf_nan_mode="null")


def _plain(value: Any, inside: frozenset[int] = frozenset()) -> Any:
    """`value` as plain JSON types, with a readable stand-in for what has none. `inside`: what it is part of."""
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if id(value) in inside or len(inside) >= _MAX_DEPTH:
        return "..."
    inside |= {id(value)}
    try:
        if is_dataclass(value) and not isinstance(value, type):
            value = {f.name: getattr(value, f.name) for f in fields(value)}
        if isinstance(value, Mapping):
            return {_plain(str(key)): _plain(item, inside) for key, item in value.items()}
        if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray, memoryview)):
            return [_plain(item, inside) for item in value]
        return _plain(to_jsonable_python(value, bytes_mode="base64"), inside)
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}>"


@runtime_checkable
class TraceStore(Protocol):
    """Keeps records. `append` is called inline after every attempt, from any thread."""

    def append(self, record: TraceRecord) -> None:
        """Keep one record. May raise: the router counts it and goes on."""
        ...


@fast_init
@dataclass(frozen=True, slots=True, kw_only=True)
class RouterEvent:
    """One step of a call.

    `name` is one of `EVENT_NAMES`; `data` holds what is particular to it (`failure_type`, `wait_ms`, `elapsed_ms`,
    `error`, `usage`, `chain`). `docs/telemetry.md` has the table.
    """

    name: str
    request_id: str
    role: str
    provider: str | None = None
    model: str | None = None
    attempt: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


EVENT_NAMES = frozenset({
    "policy.choice", "policy.fallback", "llm.complete.start", "llm.complete.success", "llm.complete.error",
    "llm.retry", "llm.stream.first_token", "breaker.open", "breaker.close",
})  # fmt: skip


@runtime_checkable
class EventSink(Protocol):
    """Receives events, inline, from any thread."""

    def emit(self, event: RouterEvent) -> None:
        """Take one event. May raise: the router counts it and goes on."""
        ...


_LEVELS = {
    "llm.complete.error": logging.WARNING,
    "breaker.open": logging.WARNING,
    "breaker.close": logging.INFO,
    "llm.retry": logging.INFO,
    "policy.fallback": logging.INFO,
}


def event_level(name: str) -> int:
    """The logging level of an event: failures are warnings, retries and fallbacks info, the rest debug."""
    return _LEVELS.get(name, logging.DEBUG)


class LoggingSink:
    """Sends events to the ``lee_llm_router`` logger, their fields as `extra` (each prefixed ``llm_``)."""

    __slots__ = ()

    def emit(self, event: RouterEvent) -> None:
        """Log one event at its `event_level`."""
        extra = {
            "llm_event": event.name, "llm_request_id": event.request_id, "llm_role": event.role,
            "llm_provider": event.provider, "llm_model": event.model, "llm_attempt": event.attempt,
            **{f"llm_{key}": value for key, value in event.data.items()},
        }  # fmt: skip
        details = " ".join(f"{key}={value}" for key, value in event.data.items())
        target = target_name(event.provider, event.model)
        logger.log(
            event_level(event.name), "%s role=%s target=%s %s", event.name, event.role, target, details, extra=extra
        )
