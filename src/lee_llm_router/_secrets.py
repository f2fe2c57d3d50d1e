"""Keeping keys out of everything that is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_TEXT = 500
"""Characters of foreign text kept in an error or a trace."""

MASK = "***"

# Keys the router was never told of, by the shapes vendors give them: "sk-...", "Bearer ...", "key=..." in a URL.
_KEY_SHAPES = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai|hf|ghp|AIza)[-_][A-Za-z0-9_\-]{16,}|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|(?<=Bearer )[^\s\"',;]+|(?<=[?&]key=)[^\s&\"']+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.IGNORECASE,
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with every one of `secrets`, and all that looks like a key, replaced by ``***``."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return _KEY_SHAPES.sub(MASK, text)


def bounded(text: str, limit: int = MAX_TEXT) -> str:
    """`text` on one line and at most `limit` characters long, with what cannot be printed escaped."""
    text = " ".join(text[: limit * 4].split())
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def scrub_exception(error: BaseException, secrets: Iterable[str]) -> None:
    """Take `secrets` out of the arguments of `error` and of everything it was raised from, in place."""
    secrets = tuple(secrets)
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.args = tuple(_scrub_argument(arg, secrets) for arg in current.args)
        queue += [current.__cause__, current.__context__]


def _scrub_argument(argument: object, secrets: tuple[str, ...]) -> object:
    if not isinstance(argument, (str, bytes, bytearray, BaseException)):
        return argument
    text = argument if isinstance(argument, str) else str(argument)
    clean = scrub(text, secrets)
    return argument if clean == text else clean
