"""Makes names from outside fit to be shown: in a record, a log line, a message."""

from __future__ import annotations

from typing import overload

from lee_llm_router._util.scrubbing import bounded

MAX_NAME = 200
"""Longest name (of a model, role or provider) that is shown, in characters."""


@overload
def printable(name: str, limit: int = MAX_NAME) -> str: ...


@overload
def printable(name: str | None, limit: int = MAX_NAME) -> str | None: ...


def printable(name: str | None, limit: int = MAX_NAME) -> str | None:
    """Return `name` on one line, cut to `limit` characters, with unprintable characters escaped; None for None.

    Nearly every name is returned unchanged, after a quick check.
    """
    if name is None or (len(name) <= limit and name.isprintable()):
        return name
    return bounded(name, limit)


def encodable(name: str) -> str:
    """Return `name` with half characters escaped, which UTF-8 cannot encode; nearly every name stays unchanged."""
    return name.encode("utf-8", "backslashreplace").decode()
