"""The transports there are, and the one under test.

A test file whose promises every transport keeps makes its transports with `transport_to`, and says::

    pytestmark = pytest.mark.usefixtures("each_transport")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lee_llm_router.providers.http.transport.api import Transport, WireRequest, WireResponse
from lee_llm_router.providers.http.transport.choice import LazyTransport, TransportName

TRANSPORTS: tuple[TransportName, ...] = ("httpx", "httptools")

_under_test: TransportName = "httpx"


@contextmanager
def under_test(name: TransportName) -> Iterator[None]:
    """Within it, `transport_to` makes transports of this kind."""
    global _under_test  # noqa: PLW0603
    _under_test = name
    yield


def name_under_test() -> TransportName:
    return _under_test


def transport_to(url: str, *, max_response_bytes: int = 10_000_000, ca_file: str | None = None) -> Transport:
    """A transport of the kind under test, to be closed by the caller."""
    return LazyTransport(_under_test, url, ca_file=ca_file, max_response_bytes=max_response_bytes).get()


def settings_under_test() -> dict[str, Any]:
    """For an `http` provider."""
    return {"transport": _under_test}


Calls = Callable[[Transport, str, int], list[WireResponse]]
"""Sends so many requests by a transport, one after the other."""


def wire_to(url: str) -> WireRequest:
    """A request with a field of its own."""
    return WireRequest(f"{url}/chat", ((b"X-A", b"b"),), b"{}")


def sync_calls(transport: Transport, url: str, times: int) -> list[WireResponse]:
    return [transport.send(wire_to(url), 5) for _ in range(times)]


def async_calls(transport: Transport, url: str, times: int) -> list[WireResponse]:
    async def main() -> list[WireResponse]:
        return [await transport.send_async(wire_to(url), 5) for _ in range(times)]

    return asyncio.run(main())
