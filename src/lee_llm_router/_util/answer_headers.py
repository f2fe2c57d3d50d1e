"""Header fields of a response, as a mapping that is built on first access."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.scrubbing import MASK, MAX_TEXT, bounded, is_sensitive_header, scrub

MAX_HEADERS = 100
"""Most header fields to keep of one response."""
_MAX_NAME = 100

_REQUEST_ID = late_pattern(r"(?:^|-)request-?id$")
_OTHER_IDS = ("x-correlation-id", "x-trace-id", "cf-ray")


class AnswerHeaders(Mapping[str, str]):
    """Header fields by case-insensitive name; repeated ones joined by commas (RFC 9110, 5.3).

    API keys are removed, unprintable characters escaped, and fields that carry a key (`Set-Cookie`) masked. Values have
    at most `MAX_TEXT` characters, and there are at most `MAX_HEADERS` names, listed in lower case.

    Args:
        raw: Names and values as received.
        secrets: Values to remove.
    """

    __slots__ = ("_fields", "_raw", "_secrets")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]] = (), secrets: Iterable[str] = ()) -> None:
        self._raw = raw
        self._secrets = secrets
        self._fields: dict[str, str] | None = None

    @classmethod
    def from_mapping(cls, fields: Any, secrets: Iterable[str] = ()) -> AnswerHeaders:
        """Return the fields of a third-party mapping; none if it is not a mapping of header fields."""
        try:
            pairs = [(name, value) for name, value in fields.items() if isinstance(value, str)]
            raw = [(_bytes(name), _bytes(value)) for name, value in pairs if isinstance(name, str)]
        except Exception:  # noqa: BLE001 - it may be anything, and raise anything
            return NO_HEADERS
        return cls(raw, tuple(secrets))

    def without(self, secrets: Iterable[str]) -> AnswerHeaders:
        """Return the same fields without these secrets."""
        return AnswerHeaders(self._raw, (*self._secrets, *secrets)) if self._raw else self

    def bare(self, *words: bytes) -> dict[str, str]:
        """Return the fields whose name contains one of `words`, by lower-case name, each with its last value.

        Faster than looking them up. The values still contain secrets, so they must not be shown.

        Args:
            words: In lower case.
        """
        found = {}
        for raw_name, value in self._raw[:MAX_HEADERS]:
            name = raw_name.lower()
            for word in words:
                if word in name:
                    found[name[:_MAX_NAME].decode("latin-1")] = value[:MAX_TEXT].decode("latin-1")
        return found

    def __getitem__(self, name: str) -> str:
        return self._made()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made())

    def __len__(self) -> int:
        return len(self._made())

    def __bool__(self) -> bool:
        return bool(self._raw)

    def __hash__(self) -> int:
        return hash(frozenset(self._made().items()))

    def __repr__(self) -> str:
        return repr(self._made())

    def __deepcopy__(self, memo: object) -> dict[str, str]:
        # `dataclasses.asdict` copies this way, and its result should be JSON-compatible.
        return dict(self._made())

    def __reduce__(self) -> tuple[Any, ...]:
        # The raw fields contain keys: a copy, pickled or not, gets only the visible fields.
        return AnswerHeaders.from_mapping, (dict(self._made()),)

    def _made(self) -> dict[str, str]:
        fields = self._fields
        if fields is None:
            fields = self._fields = _made(self._raw, tuple(self._secrets))
        return fields


NO_HEADERS = AnswerHeaders()
"""The header fields of a provider without any."""


def request_id_in(headers: Mapping[str, str]) -> str | None:
    """Return the id that the other side gave the request; None if there is none.

    Vendors call it ``x-request-id``, ``request-id``, ``x-amzn-requestid``, ``apim-request-id`` and so on. An id from
    the client (``x-ms-client-request-id``) does not count.
    """
    named = [name for name in headers if _REQUEST_ID.search(name) and "client" not in name]
    named.sort(key=len)  # the shortest first
    return next((headers[name] for name in (*named, *_OTHER_IDS) if headers.get(name)), None)


def _made(raw: Sequence[tuple[bytes, bytes]], secrets: tuple[str, ...]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = raw_name[:_MAX_NAME].decode("latin-1").lower()
        value = raw_value[: 4 * MAX_TEXT].decode("latin-1")
        if name not in joined and len(joined) >= MAX_HEADERS:
            continue
        if len(joined.get(name, "")) < 4 * MAX_TEXT:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return {
        bounded(scrub(name, secrets)): MASK if is_sensitive_header(name) else bounded(scrub(value, secrets))
        for name, value in joined.items()
    }


def _bytes(text: str) -> bytes:
    return text[: 4 * MAX_TEXT].encode("latin-1", "replace")
