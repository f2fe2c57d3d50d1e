"""Carries HTTP requests with httpx, which only this file and `_transport_exchange` know.

What httpx does here is HTTP/1.1 itself and proxies. Its client (cookies, redirects, authentication, a pool that slows
down with its size) is left out: each slot holds one bare `HTTPTransport` with one connection. The connections are ours
(`_streams`), put in the place of the pool's private `_network_backend`, so that the deadline holds at each system call.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from lee_llm_router.errors import ProviderError
from lee_llm_router.providers._slots import KEEP_ALIVE, LoopStacks, Slot, SlotStack
from lee_llm_router.providers._sockets import Line
from lee_llm_router.providers._streams import AsyncBackend, SyncBackend
from lee_llm_router.providers._transport_exchange import AsyncExchange, Guard, SyncExchange
from lee_llm_router.providers._wire import ACCEPT_ENCODING, WireRequest, WireResponse, is_loopback

SyncSlot: TypeAlias = Slot[httpx.HTTPTransport]
AsyncSlot: TypeAlias = Slot[httpx.AsyncHTTPTransport]

_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)
_url = lru_cache(maxsize=64)(httpx.URL)


class HTTPXTransport:
    """The `Transport` of one provider.

    Args:
        url: Where requests will go; chooses the proxy, from the environment (`HTTPS_PROXY`, `NO_PROXY` and so on).
        ca_file: PEM file with further authorities to trust, besides the usual ones.
        max_response_bytes: Bound on the decoded body of an answer, in bytes.

    Raises:
        ProviderError: `ca_file` cannot be used.
    """

    def __init__(self, url: str, *, ca_file: str | None = None, max_response_bytes: int) -> None:
        self._limit = max_response_bytes
        self._ssl_context = _context_for(url, ca_file)
        self._proxy = _proxy_for(url, ca_file)
        self._stack: SlotStack[httpx.HTTPTransport] = SlotStack()
        self._stacks: LoopStacks[httpx.AsyncHTTPTransport] = LoopStacks()

    def send(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send`."""
        return self.open(request, timeout).whole()

    async def send_async(self, request: WireRequest, timeout: float) -> WireResponse:
        """As `Transport.send_async`."""
        return await (await self.open_async(request, timeout)).whole()

    def open(self, request: WireRequest, timeout: float) -> SyncExchange:
        """As `Transport.open`."""
        slot = self._stack.take() or self._open()
        with Guard(slot):
            slot.line.start(timeout)
            response = slot.client.handle_request(_prepared(request, slot.line))
            loaded = None if slot.line.open else b"".join(response.iter_raw())
            return SyncExchange(slot, self._stack, response, self._limit, loaded)

    async def open_async(self, request: WireRequest, timeout: float) -> AsyncExchange:
        """As `Transport.open_async`."""
        stack = self._stacks.current()
        slot = stack.take() or self._open_async()
        with Guard(slot):
            slot.line.start(timeout)
            async with asyncio.timeout(timeout):
                response = await slot.client.handle_async_request(_prepared(request, slot.line))
                loaded = None if slot.line.open else b"".join([part async for part in response.aiter_raw()])
            return AsyncExchange(slot, stack, response, self._limit, loaded)

    def close(self) -> None:
        """As `Transport.close`. No event loop is needed, and any may be running."""
        self._stack.close()
        self._stacks.close()

    def _open(self) -> SyncSlot:
        line = Line()
        client = httpx.HTTPTransport(verify=self._ssl_context, limits=_LIMITS, proxy=self._proxy)
        cast(Any, client)._pool._network_backend = SyncBackend(line)
        return Slot(client, line)

    def _open_async(self) -> AsyncSlot:
        line = Line()
        client = httpx.AsyncHTTPTransport(verify=self._ssl_context, limits=_LIMITS, proxy=self._proxy)
        cast(Any, client)._pool._network_backend = AsyncBackend(line)
        return Slot(client, line)


class _Content(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request's body. Asked for when the connection stands and the headers are written: from then on, it is sent."""

    def __init__(self, data: bytes, line: Line) -> None:
        self._data = data
        self._line = line

    def __iter__(self) -> Iterator[bytes]:
        self._line.sent = True
        yield self._data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._line.sent = True
        yield self._data


def _prepared(request: WireRequest, line: Line) -> httpx.Request:
    url = _url(request.url)
    headers = [
        (b"Host", url.netloc),
        *request.headers,
        (b"Accept-Encoding", ACCEPT_ENCODING),
        (b"Content-Length", b"%d" % len(request.body)),
    ]
    return httpx.Request(request.method, url, headers=headers, stream=_Content(request.body, line))


def _context_for(url: str, ca_file: str | None) -> ssl.SSLContext:
    if url.startswith("http:"):
        return _untrusting()
    try:
        return _context(ca_file, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:  # ssl.SSLError is one
        raise ProviderError(f"ca_file cannot be used: {error.strerror or error}", final=True, sent=False) from error


@lru_cache(maxsize=16)
def _context(ca_file: str | None, *_: str | None) -> ssl.SSLContext:
    """The one context for these settings. Building it reads all authorities: 20 ms, so not for each connection."""
    context = httpx.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


@lru_cache(maxsize=1)
def _untrusting() -> ssl.SSLContext:
    """For plain http, where no certificate is looked at: verifies, and trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _proxy_for(url: str, ca_file: str | None) -> httpx.Proxy | None:
    """The proxy the environment names for `url`. This machine itself is never behind one."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if proxy.startswith("socks") and find_spec("socksio") is None:
        raise ProviderError("the environment names a SOCKS proxy: install httpx[socks]", final=True, sent=False)
    try:
        return httpx.Proxy(proxy, ssl_context=_context_for(proxy, ca_file) if proxy.startswith("https:") else None)
    except (ValueError, httpx.InvalidURL) as error:
        # Not the address itself: it may hold a password.
        raise ProviderError("the proxy in the environment is not a URL httpx knows", final=True, sent=False) from error
