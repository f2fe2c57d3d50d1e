"""Removes keys from text before it is stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_TEXT = 500
"""The most characters of outside text kept in an error or a trace."""

MASK = "***"

# The shapes of vendors' keys, for keys that are in no setting: "sk-...", "Bearer ...", "key=..." in a URL.
_KEY_SHAPES = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai|hf|ghp|AIza)[-_][A-Za-z0-9_\-]{16,}|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|(?<=Bearer )[^\s\"',;]+|(?<=[?&]key=)[^\s&\"']+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.IGNORECASE,
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with each of `secrets`, and whatever looks like a key, replaced by ``***``."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return _KEY_SHAPES.sub(MASK, text)


_SENSITIVE_HEADER = re.compile(
    r"(?:^|[-_])(?:auth|authorization|(?:api)?[-_]?key|token|secret|cookie|password|credentials?)$", re.IGNORECASE
)


def is_sensitive_header(name: str) -> bool:
    """Whether the HTTP header `name` commonly carries a key: Authorization, X-Api-Key, Cookie and the like."""
    return _SENSITIVE_HEADER.search(name) is not None


_SENSITIVE_PARAMETER = re.compile(
    r"(?:auth|authorization|key|token|secret|password|sig|signature|code|credentials?)$", re.I
)


def is_sensitive_parameter(name: str) -> bool:
    """Whether the query parameter `name` commonly carries a key: key, api-key, access_token, sig, code and the like."""
    return _SENSITIVE_PARAMETER.search(name) is not None


_RANDOM = re.compile(r"(?=(?:.*?[0-9]){3})(?=.*[a-z])[A-Za-z0-9]{20,}")


def looks_like_key(text: str) -> bool:
    """Whether `text` has the shape of a vendor's key or is one long random word."""
    return _KEY_SHAPES.search(text) is not None or _RANDOM.fullmatch(text) is not None


def bounded(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` on one line, cut to `limit` characters, with unprintable characters escaped."""
    text = " ".join(text[: limit * 4].split())
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def scrubbed_start(text: str, secrets: Iterable[str], limit: int = MAX_TEXT) -> str:
    """Return what `bounded(scrub(text, secrets), limit)` would, or less, in a time that a long text does not add to."""
    secrets = list(secrets)
    longest = max(map(len, secrets), default=0)
    cut = limit * 32 + longest
    if len(text) <= cut:
        return bounded(scrub(text, secrets), limit)
    clean = scrub(text[:cut], secrets)
    # The cut may have left half of a secret at the end.
    return bounded(clean[: max(0, len(clean) - longest)] + " …", limit)


def scrub_exception(error: BaseException, secrets: Iterable[str]) -> bool:
    """Remove `secrets` from `error` and from the exceptions it was raised from, in place.

    An exception in that chain that still shows a secret (its text may be computed) is dropped from the chain, together
    with those behind it.

    Returns:
        Whether `error` itself no longer shows a secret.
    """
    return _scrub_chain(error, tuple(secrets), set())


def _scrub_chain(error: BaseException, secrets: tuple[str, ...], seen: set[int]) -> bool:
    if id(error) in seen:
        return True
    seen.add(id(error))
    error.args = tuple(_scrub_value(arg, secrets) for arg in error.args)
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        error.strerror = scrub(error.strerror, secrets)
    for name, value in list(vars(error).items()):
        if isinstance(value, str | list):
            vars(error)[name] = _scrub_value(value, secrets)
    if error.__cause__ is not None and not _scrub_chain(error.__cause__, secrets, seen):
        error.__cause__ = None
    if error.__context__ is not None and not _scrub_chain(error.__context__, secrets, seen):
        error.__context__ = None
    shown = f"{error!s} {error!r}"
    return not any(secret in shown for secret in secrets if secret)


def _scrub_value(value: object, secrets: tuple[str, ...]) -> object:
    if isinstance(value, list):
        return [_scrub_value(item, secrets) for item in value]
    if not isinstance(value, str | bytes | bytearray | BaseException):
        return value
    text = value if isinstance(value, str) else str(value)
    clean = scrub(text, secrets)
    return value if clean == text else clean
