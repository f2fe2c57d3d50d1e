"""Trace records, and the protocols for storing and reading them.

A router writes a `TraceRecord` for every attempt to its `TraceStore`. Both protocols here are structural: any object
with the right methods fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.printable import printable
from lee_llm_router.response.types import LLMUsage
from lee_llm_router.telemetry.record_json import (
    json_object,
    json_text,
    json_writer,
    known_fields,
    readable_line,
)

SCHEMA_VERSION = 1

AttemptOutcome: TypeAlias = Literal["ok", "error", "cancelled", "skipped"]
"""How an attempt ended; ``skipped``: it was not made."""
NextStep: TypeAlias = Literal["return", "retry", "next", "raise"]
"""What follows an attempt."""

_SHARED = (
    "sent", "role", "asked_role", "provider", "provider_type", "model", "served_model", "key_variable",
    "policy", "waited_for", "reason", "hedge", "operation", "outcome", "failure_type", "verdict", "stream",
    "finish_reason", "cost_source", "service_tier", "cached", "workspace",
)  # fmt: skip
"""Fields that are the same in most records of a program."""
_CAPTURED = {"messages", "tools", "settings", "text", "reasoning", "tool_calls"}
_UNSAID = _CAPTURED | {"kept_share"}
_LISTS = ("messages", "tools", "tool_calls")
_LONG = {"text", "reasoning"}
_SIGNED = {"status_code"}


def target_name(provider: str | None, model: str | None) -> str:
    """Return ``provider/model`` in readable form, printable and of limited length; a dash if there is no target."""
    if provider is None:
        return "-"
    return f"{printable(provider)}/{printable(model)}" if model else printable(provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord:
    """One attempt (schema 1). A call that ends outside an attempt leaves one record with ``attempt=None``."""

    schema: int = SCHEMA_VERSION
    request_id: str
    """The id of the call, a UUIDv7: ids sort by time."""
    attempt: int | None
    """Counts from 0 within the call."""
    target_attempt: int | None = None
    """Counts from 0 at the target."""
    sent: bool = False
    """False: certainly nothing was sent to the provider. True: something may have been."""
    role: str
    asked_role: str | None = None
    """The role that the caller named, if it does not exist: the default role answered instead, or the call was
    refused."""
    provider: str | None = None
    provider_type: str | None = None
    model: str | None = None
    served_model: str | None = None
    """The model that answered, as the provider names it."""
    key_variable: str | None = None
    """The variable of the key in use, if the provider has several."""
    policy: str | None = None
    started_at: str
    """UTC, in ISO 8601 with microseconds and a Z."""
    elapsed_ms: float = 0.0
    offset_ms: float | None = None
    """Milliseconds from the start of the call to the start of the attempt."""
    waited_for: str | None = None
    """The reason for a wait before the attempt, if there was one."""
    reason: str | None = None
    """Why this target was asked, in the words of the policy and the router."""
    hedge: bool = False
    """Whether the attempt ran in parallel to another one of the call, which had not begun to answer."""
    first_token_ms: float | None = None
    operation: str | None = None
    """The kind of call, if it is not chat completion: ``embedding``."""
    outcome: AttemptOutcome
    failure_type: str | None = None
    status_code: int | None = None
    error: str | None = None
    """The message of the failure, without secrets and of limited length."""
    retry_after: float | None = None
    """Seconds, as stated by the vendor."""
    provider_request_id: str | None = None
    """The vendor's id of a failed request."""
    dropped: Sequence[str] = ()
    """Options left out (`drop_unsupported`) because the target cannot express them."""
    verdict: NextStep
    """What the router did next."""
    wait_ms: float = 0.0
    """The wait after this attempt."""
    stream: bool = False
    finish_reason: str | None = None
    usage: LLMUsage | None = None
    cost_usd: float | None = None
    """None: unknown, which is not 0."""
    cost_source: str | None = None
    """The source of the cost: ``vendor``, ``pricing`` (the configuration's), or the name of a price table."""
    service_tier: str | None = None
    """The tier that served, in the vendor's words."""
    cached: bool = False
    """Whether the answer came from a cache: no target was asked, so `attempt` is None."""
    request_bytes: int | None = None
    response_chars: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    workspace: str | None = None
    kept_share: float | None = None
    """The share of such calls that the store received (`sample`). None: all of them."""
    messages: Sequence[Mapping[str, Any]] | None = None
    """The prompt. This field and all below: only with ``capture: full``."""
    tools: Sequence[Mapping[str, Any]] | None = None
    """The offered tools."""
    settings: Mapping[str, Any] | None = None
    """The other options, temperature and schema for example, as fields of `LLMRequest`."""
    text: str | None = None
    reasoning: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    """The tool calls of the answer: `id`, `name`, and `arguments` as JSON text."""

    @property
    def target(self) -> str:
        """``provider/model`` in readable form; a dash if there is no target."""
        return target_name(self.provider, self.model)

    @property
    def is_lost(self) -> bool:
        """Whether the router ended the attempt itself, since a parallel one had decided the call."""
        return self.outcome == "cancelled" and self.verdict == "next"

    def to_json(self) -> bytes:
        """Return the record as one line of JSON, without the newline. Never fails.

        Every field is present, null if the value is unknown; those of ``capture: full`` only if one of them is known,
        and `kept_share` only if it is known. A readable stand-in replaces what JSON cannot express (lone surrogates,
        objects, cycles) and numbers too long to be read. If a record is too long for readers, only the beginning of its
        long fields is written.
        """
        if (
            self.messages is None and self.text is None and self.tool_calls is None and self.reasoning is None
            and self.settings is None and self.tools is None and self.kept_share is None
        ):  # fmt: skip
            try:
                line = _bare_json(self) if type(self) is TraceRecord else json_text(self, exclude=_UNSAID)
            except Exception:  # noqa: BLE001 - metadata may contain objects whose methods raise
                line = json_text(self, exclude=_UNSAID)
            return readable_line(line, self, _UNSAID)
        left_out = {"kept_share"} if self.kept_share is None else set()
        if all(getattr(self, name) is None for name in _CAPTURED):
            left_out |= _CAPTURED
        return readable_line(json_text(self, exclude=left_out), self, left_out)

    @classmethod
    def from_json(cls, line: bytes | str) -> TraceRecord:
        """Return the record on `line`, which a newer or older version of this library may have written.

        Unknown fields are ignored. A field that is missing, has the wrong type, or has an impossible value (a number
        that is not finite, or above 10**12) gets its default.

        Raises:
            ValueError: not a JSON object, or a field without a default is missing.
        """
        return cls.from_mapping(json_object(line))

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> TraceRecord:
        """Return the record in `data`, a parsed JSON object; as `from_json`.

        Raises:
            ValueError: a field without a default is missing.
        """
        known = known_fields(cls, data, long=_LONG, signed=_SIGNED)
        if known.get("usage") is not None:
            known["usage"] = LLMUsage(**known_fields(LLMUsage, known["usage"]))
        if "dropped" in known:
            known["dropped"] = tuple(item for item in known["dropped"] if isinstance(item, str))
        for name in _LISTS:
            items = known.get(name)
            if items is not None:
                known[name] = tuple(item for item in items if isinstance(item, dict))
        try:
            return cls(**known)
        except TypeError as error:
            raise ValueError(f"not a trace record: {error}") from None


_bare_json = json_writer(TraceRecord, exclude=_UNSAID, shared=_SHARED, nested={"usage": LLMUsage})


@runtime_checkable
class TraceStore(Protocol):
    """Stores records. A store may also have a `close`, which the router calls when it is closed itself."""

    def write(self, record: TraceRecord) -> None:
        """Store one record. Called inline after every attempt, from any thread, so it must be quick.

        It may raise: the router counts the error and continues.
        """
        ...


@runtime_checkable
class TraceReader(Protocol):
    """Reads stored records. A readable store implements both protocols."""

    def last(self, n: int = 1) -> list[TraceRecord]:
        """Return the records of the `n` most recently written calls: oldest call first, with the records of a call
        together."""
        ...

    def find(self, request_id: str) -> list[TraceRecord]:
        """Return the records of one call in the order they were written; empty if there are none."""
        ...
