"""Headers that an attempt sends along beside those of its request: where a sink puts them, and a provider finds them.

They stand in the context that the provider runs in (`AttemptStart.context`), not in the request: a request says what is
asked, and what keeps answers by it must not see another one in each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

_headers: ContextVar[Mapping[str, str] | None] = ContextVar("lee_llm_router_outgoing_headers", default=None)

headers_along = _headers.get
"""Return what is to be sent along from here; None if nothing is."""


def variables_along() -> dict[str, str]:
    """Return the same as environment variables, for a program that is run here: ``TRACEPARENT`` for one."""
    headers = _headers.get() or {}
    return {name.upper().replace("-", "_"): value for name, value in headers.items() if value.isprintable()}


def send_along(headers: Mapping[str, str]) -> None:
    """Have what runs in this context send `headers` along."""
    _headers.set({**(_headers.get() or {}), **headers})
