"""Chooses the HTTP library that carries a provider's requests, and loads it on first use.

Only `httpx_transport`, `httptools_transport` and `httptools_parser` import such a library. Both transports keep the
same promises over the same connections (`channel`, `connection`), and pass the same tests.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from typing import Any, Literal, TypeAlias, cast, get_args

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.shortage import lacking
from lee_llm_router._util.threads import awaitable, start_in_thread
from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.http.transport.api import Transport
from lee_llm_router.providers.http.transport.proxies import proxy_for
from lee_llm_router.providers.http.transport.trust import TrustSource

TransportName: TypeAlias = Literal["httpx", "httptools"]
TransportChoice: TypeAlias = Literal["auto", "httpx", "httptools"]

TRANSPORT_VARIABLE = "LEE_LLM_ROUTER_TRANSPORT"
"""Environment variable that decides if the setting `transport` is `auto`."""


def choose_transport(wanted: TransportChoice, url: str) -> TransportName:
    """Return the transport for requests to `url`.

    Args:
        wanted: The setting. `auto` means the one that the environment variable names, else httptools if available.
        url: Determines the proxy, from the environment. httptools cannot use a SOCKS proxy.

    Raises:
        ProviderError: the transport is not installed, or the variable names an unknown one.
    """
    if wanted == "auto":
        wanted = _from_environment()
    if wanted == "httpx" or (wanted == "auto" and _is_behind_socks(url)):
        return "httpx"
    problem = _httptools_problem()
    if problem is None:
        return "httptools"
    if wanted == "auto":
        return "httpx"
    if isinstance(problem, OSError):
        raise _unbuilt_error(problem) from problem
    raise ProviderError(
        'the transport httptools needs an extra: pip install "lee-llm-router[fast]"', final=True, sent=False
    ) from problem


def _unbuilt_error(error: OSError) -> ProviderError:
    """Return the error for a transport that cannot be built because the system lacks a resource."""
    short_of = lacking(error)
    reason = error.strerror or type(error).__name__ if short_of is None else f"this machine has run out of {short_of}"
    message = f"no HTTP library can be loaded: {reason}"
    return ProviderError(message, sent=False, local_shortage=short_of is not None)


def _httptools_problem() -> Exception | None:
    """Return why httptools cannot be used: it is missing, broken, or too old for the options we set."""
    try:
        from lee_llm_router.providers.http.transport.httptools_transport import (  # noqa: PLC0415 - it loads httptools
            check_httptools,
        )

        check_httptools()
    except Exception as error:  # noqa: BLE001 - httpx can be used instead, whatever the problem is
        return error
    return None


def _from_environment() -> TransportChoice:
    name = os.environ.get(TRANSPORT_VARIABLE) or "auto"
    if name not in get_args(TransportChoice):
        known = ", ".join(get_args(TransportChoice))
        raise ProviderError(f"{TRANSPORT_VARIABLE} is not a transport; there are: {known}", final=True, sent=False)
    return cast(TransportChoice, name)


def _is_behind_socks(url: str) -> bool:
    return (proxy_for(url) or "").startswith("socks")


class LazyTransport:
    """The transport of one provider, built on first use: loading an HTTP library takes up to 150 ms.

    Args:
        wanted: The setting `transport`.
        url: Where requests will go.
        ca_file: PEM file with authorities to trust in addition to the usual ones.
        trust: The usual authorities.
        max_response_bytes: Maximum size of a decoded response body, in bytes.
    """

    def __init__(
        self,
        wanted: TransportChoice,
        url: str,
        *,
        ca_file: str | None,
        trust: TrustSource = "certifi",
        max_response_bytes: int,
    ) -> None:
        self._wanted = wanted
        self._url = url
        self._ca_file = ca_file
        self._trust: TrustSource = trust
        self._limit = max_response_bytes
        self._transport: Transport | None = None
        self._pending: Future[Transport] | None = None
        """The transport that a thread is building for asyncio."""
        self._lock = ForkLock(in_child=self._forget_pending)

    def get(self) -> Transport:
        """Return the transport; the first call builds it.

        Raises:
            ProviderError: it is not installed, or `ca_file` or the proxy cannot be used.
        """
        transport = self._transport
        if transport is None:
            try:
                built = self._build()
            except OSError as error:  # the library's files cannot be opened
                raise _unbuilt_error(error) from error
            with self._lock:
                # If two threads have each built one, use the first. The other has no connection to close.
                self._transport = transport = self._transport or built
        return transport

    async def get_async(self) -> Transport:
        """As `get`. Builds it in a thread, so that the event loop stays free.

        Raises:
            ProviderError: no thread can start (`sent` is False).
        """
        transport = self._transport
        if transport is not None:
            return transport
        with self._lock:
            pending = self._pending
            if pending is None:
                pending = self._pending = self._start_building()
        try:
            return await awaitable(pending)
        except asyncio.CancelledError:
            raise
        except Exception:
            self._forget_pending()  # the next call tries again: the cause may be gone by then
            raise

    def _start_building(self) -> Future[Transport]:
        try:
            return start_in_thread(self._get_loaded)
        except BlockingIOError as error:
            raise ProviderError(f"no HTTP library can be loaded: {error}", sent=False, local_shortage=True) from error

    def _get_loaded(self) -> Transport:
        transport = self.get()
        transport.load()
        return transport

    def close(self) -> None:
        """Close idle connections now, and busy ones when they are given back."""
        if self._transport is not None:
            self._transport.close()

    def _forget_pending(self) -> None:
        self._pending = None

    def _build(self) -> Transport:
        name = choose_transport(self._wanted, self._url)
        options: Any = {"ca_file": self._ca_file, "trust": self._trust, "max_response_bytes": self._limit}
        if name == "httpx":
            from lee_llm_router.providers.http.transport.httpx_transport import HTTPXTransport  # noqa: PLC0415

            return HTTPXTransport(self._url, **options)
        from lee_llm_router.providers.http.transport.httptools_transport import HTTPToolsTransport  # noqa: PLC0415

        return HTTPToolsTransport(self._url, **options)
