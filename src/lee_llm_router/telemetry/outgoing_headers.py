"""Headers that an attempt sends in addition to those of its request: sinks set them here, and providers read them.

They are in the context that the provider runs in (`AttemptStart.context`), not in the request: caches use the request
as the key of its answer, and must not see a different one in each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

_headers: ContextVar[Mapping[str, str] | None] = ContextVar("lee_llm_router_outgoing_headers", default=None)

headers_along = _headers.get
"""Return the headers to send from the current context; None if there are none."""


def variables_along() -> dict[str, str]:
    """Return the same as environment variables, such as ``TRACEPARENT``, for a program started here."""
    headers = _headers.get() or {}
    return {name.upper().replace("-", "_"): value for name, value in headers.items() if value.isprintable()}


def send_along(headers: Mapping[str, str]) -> None:
    """Make everything that runs in this context send `headers`."""
    _headers.set({**(_headers.get() or {}), **headers})
