"""Makes names that come from outside fit to be shown: in a record, a log line, a message."""

from __future__ import annotations

from typing import overload

from lee_llm_router._util.scrubbing import bounded

MAX_NAME = 200
"""The most characters of a name (of a model, role or provider) that is shown."""


@overload
def printable(name: str, limit: int = MAX_NAME) -> str: ...


@overload
def printable(name: str | None, limit: int = MAX_NAME) -> str | None: ...


def printable(name: str | None, limit: int = MAX_NAME) -> str | None:
    """Return `name` on one line, cut to `limit` characters, with unprintable characters escaped; None for None.

    Nearly every name is returned as it is, at the price of a glance.
    """
    if name is None or (len(name) <= limit and name.isprintable()):
        return name
    return bounded(name, limit)


def encodable(name: str) -> str:
    """Return `name` with halves of characters escaped, which stand in no UTF-8; nearly every name as it is."""
    return name.encode("utf-8", "backslashreplace").decode()
