"""Removes keys from text before it is stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lee_llm_router._util.late_pattern import late_pattern

MAX_TEXT = 500
"""Most characters of outside text kept in an error or a trace."""

MASK = "***"

SHORTEST_SECRET = 4
"""Shortest secret in characters; ordinary text contains shorter ones too."""

# The shapes of vendors' keys, for keys outside the settings: "sk-...", "Bearer ...", "key=..." in a URL.
_KEY_SHAPES = late_pattern(
    r"\b(?:sk|rk|pk|gsk|xai|hf|ghp|AIza)[-_][A-Za-z0-9_\-]{16,}|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|(?<=Bearer )[^\s\"',;]+|(?<=[?&]key=)[^\s&\"']+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.IGNORECASE,
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with ``***`` replacing each of `secrets`, and whatever looks like a key."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return _KEY_SHAPES.sub(MASK, text)


_SENSITIVE_HEADER = late_pattern(
    r"(?:^|[-_])(?:auth|authorization|(?:api)?[-_]?key|token|secret|cookie|password|credentials?)$", re.IGNORECASE
)


def is_sensitive_header(name: str) -> bool:
    """Whether the HTTP header `name` commonly carries a key: Authorization, X-Api-Key, Cookie and so on."""
    return _SENSITIVE_HEADER.search(name) is not None


_SENSITIVE_PARAMETER = late_pattern(
    r"(?:auth|authorization|key|token|secret|password|sig|signature|code|credentials?)$", re.I
)


def is_sensitive_parameter(name: str) -> bool:
    """Whether the query parameter `name` commonly carries a key: key, api-key, access_token, sig, code and so on."""
    return _SENSITIVE_PARAMETER.search(name) is not None


def secrets_in(value: object, name: str = "") -> Iterator[str]:
    """Yield the texts in `value`, a mapping or a list, that are named or shaped like keys; `name` is its own name.

    For a text of several words ("Bearer abc") also yield the words after the first.
    """
    if isinstance(value, str):
        if is_sensitive_header(name) or looks_like_key(value[:_CUT_SPARE]):
            yield value.strip()
            yield from value.split()[1:]
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from secrets_in(part, key if isinstance(key, str) else "")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from secrets_in(part, name)


def masked_headers(headers: Any) -> Any:
    """Return `headers` with those masked that carry a key. Anything that is not a mapping is returned unchanged."""
    if not isinstance(headers, Mapping):
        return headers
    return {name: MASK if is_sensitive_header(str(name)) else value for name, value in headers.items()}


_RANDOM = late_pattern(r"(?=(?:.*?[0-9]){3})(?=.*[a-z])[A-Za-z0-9]{20,}")


def looks_like_key(text: str) -> bool:
    """Whether `text` has the shape of a vendor's key, or is one long random word."""
    return _KEY_SHAPES.search(text) is not None or _RANDOM.fullmatch(text) is not None


def bounded(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` on one line, cut to `limit` characters, with unprintable characters escaped."""
    text = " ".join(text[: limit * 4].split())
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(text: str, secrets: Iterable[str] = (), limit: int = MAX_TEXT) -> str:
    """Return `text` from outside ready to be shown: shortened, without keys, on one line, printable.

    It is cut before it is searched for keys, since it may have any length; no part of a key remains at the cut.
    """
    return bounded(_cut_and_scrubbed(text, tuple(secrets), limit * 4), limit)


def _cut_and_scrubbed(text: str, secrets: tuple[str, ...], limit: int) -> str:
    """Return `text` without keys, cut to about `limit` characters if it is much longer."""
    window = limit + _CUT_SPARE
    if len(text) <= window:
        return scrub(text, secrets)
    cut = text[:window]
    # The end at the cut may be the beginning of a key: of a known one, or of a word that looks like one.
    beginnings = (_beginning_at_end(cut, secret) for secret in secrets if len(secret) >= SHORTEST_SECRET)
    clean = scrub(cut[: window - max(beginnings, default=0)], secrets)
    return clean[: max(*map(clean.rfind, " \t\r\n"), len(clean) - _CUT_WORD, 0)] + "…"


def _beginning_at_end(text: str, secret: str) -> int:
    """Return how many of the last characters of `text` are the beginning of `secret`, but not all of it."""
    longest = min(len(secret) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if text.endswith(secret[:length])), 0)


def text_of_exception(error: BaseException) -> str:
    """Return the type and the text of `error`; works even if making the text fails."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the exception is somebody else's
        return f"{name} (its text cannot be shown)"
    return f"{name}: {text}" if text else name


def scrub_exception(error: BaseException, secrets: Iterable[str]) -> bool:
    """Remove `secrets` in place: from `error`, from the exceptions it was raised from, and from those in its group.

    An exception in that chain that still shows a secret (its text may be computed) is dropped from the chain, together
    with those after it. Long texts are cut.

    Returns:
        Whether `error` itself no longer shows a secret.
    """
    return _Scrubber(tuple(secrets)).clean(error)


class _Scrubber:
    """Cleans one exception and all that it refers to."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._seen: dict[int, bool] = {}

    def clean(self, error: BaseException) -> bool:
        """As `scrub_exception`."""
        known = self._seen.get(id(error))
        if known is not None:
            return known
        self._seen[id(error)] = True
        try:
            is_clean = self._clean_own(error)
        except Exception:  # noqa: BLE001 - the exception is somebody else's, and may refuse anything
            is_clean = False
        for name in ("__cause__", "__context__"):
            behind = getattr(error, name)
            if behind is not None and not self.clean(behind):
                hidden = error.__suppress_context__
                setattr(error, name, None)
                error.__suppress_context__ = hidden
        self._seen[id(error)] = is_clean
        return is_clean

    def _clean_own(self, error: BaseException) -> bool:
        error.args = tuple(self._value(arg) for arg in error.args)
        for name in _SHOWN_ATTRIBUTES:
            value = getattr(error, name, None)
            if isinstance(value, str | bytes) and (clean := self._value(value)) is not value:
                setattr(error, name, clean)
        for name, value in list(vars(error).items()):
            if isinstance(value, str | bytes | list | tuple | dict):
                vars(error)[name] = self._value(value)
        members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        are_clean = [self.clean(member) for member in members]
        shown = f"{error!s} {error!r}"
        return all(are_clean) and not any(secret in shown for secret in self._secrets if secret)

    def _value(self, value: object, depth: int = 0) -> object:
        if depth < _MAX_NESTING and isinstance(value, list | tuple):
            items = [self._value(item, depth + 1) for item in value]
            if all(new is old for new, old in zip(items, value, strict=True)):
                return value
            return items if isinstance(value, list) else tuple(items)
        if depth < _MAX_NESTING and isinstance(value, dict):
            return {self._value(name, depth + 1): self._value(item, depth + 1) for name, item in value.items()}
        if not isinstance(value, str | bytes | bytearray | BaseException):
            return value
        if isinstance(value, bytes | bytearray) and len(value) > _MAX_KEPT:
            value = value[: _MAX_KEPT + _CUT_SPARE]
        text = value if isinstance(value, str) else str(value)
        clean = _cut_and_scrubbed(text, self._secrets, _MAX_KEPT)
        return value if clean == text else clean


_SHOWN_ATTRIBUTES = ("strerror", "filename", "filename2", "msg", "text")
"""What a traceback or `str` shows of built-in exceptions besides their arguments."""
_CUT_SPARE = 8192
"""Characters to look at beyond the kept ones: longer than any key."""
_CUT_WORD = 1024
"""Characters to leave out at a cut where no word ends."""
_MAX_KEPT = 10_000
"""Longest text kept in a third-party exception, in characters."""
_MAX_NESTING = 5
