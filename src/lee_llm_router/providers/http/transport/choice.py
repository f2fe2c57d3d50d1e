"""Which HTTP library carries the requests of a provider: chosen here, loaded when first used.

`httpx_transport` and `httptools_transport` are the only files that know one. They keep the same promises over the
same connections (`channel`, `connection`), and the same tests run for both.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from typing import Literal, TypeAlias, cast, get_args

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.threads import awaitable, start_in_thread
from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.http.transport.api import Transport

TransportName: TypeAlias = Literal["httpx", "httptools"]
TransportChoice: TypeAlias = Literal["auto", "httpx", "httptools"]

TRANSPORT_VARIABLE = "LEE_LLM_ROUTER_TRANSPORT"
"""Environment variable that decides where the setting `transport` is `auto`."""


def chosen(wanted: TransportChoice, url: str) -> TransportName:
    """The transport for requests to `url`: the quicker one if it is installed and can be used.

    Args:
        wanted: The setting; `auto` leaves it to the environment variable, and without one to this function.
        url: Chooses the proxy, from the environment. httptools cannot use one that speaks SOCKS.

    Raises:
        ProviderError: it is not installed, or the variable names none that there is.
    """
    if wanted == "auto":
        wanted = _from_environment()
    if wanted == "httpx" or (wanted == "auto" and _is_socks(url)):
        return "httpx"
    reason = _unusable()
    if reason is None:
        return "httptools"
    if wanted == "auto":
        return "httpx"
    raise ProviderError(
        'the transport httptools needs an extra: pip install "lee-llm-router[fast]"', final=True, sent=False
    ) from reason


def _unusable() -> Exception | None:
    """What keeps httptools from being used: it is not installed, broken, or too old to be set up as is needed."""
    try:
        from lee_llm_router.providers.http.transport.httptools_transport import check  # noqa: PLC0415 - it loads httptools

        check()
    except Exception as error:  # noqa: BLE001 - there is another transport, whatever is wrong with this one
        return error
    return None


def _from_environment() -> TransportChoice:
    named = os.environ.get(TRANSPORT_VARIABLE) or "auto"
    if named not in get_args(TransportChoice):
        known = ", ".join(get_args(TransportChoice))
        raise ProviderError(f"{TRANSPORT_VARIABLE} names no transport; there are: {known}", final=True, sent=False)
    return cast(TransportChoice, named)


def _is_socks(url: str) -> bool:
    from lee_llm_router.providers.http.transport.route import proxy_for  # noqa: PLC0415 - it reads authorities, which takes time

    return (proxy_for(url) or "").startswith("socks")


class Carrier:
    """The transport of one provider, made when it is first used: to load an HTTP library takes up to 150 ms.

    Args:
        wanted: The setting `transport`.
        url: Where requests will go.
        ca_file: PEM file with further authorities to trust, besides the usual ones.
        max_response_bytes: Bound on the decoded body of an answer, in bytes.
    """

    def __init__(self, wanted: TransportChoice, url: str, *, ca_file: str | None, max_response_bytes: int) -> None:
        self._wanted = wanted
        self._url = url
        self._ca_file = ca_file
        self._limit = max_response_bytes
        self._made: Transport | None = None
        self._making: Future[Transport] | None = None
        self._lock = ForkLock(in_child=self._forget)

    def get(self) -> Transport:
        """The transport.

        Raises:
            ProviderError: it is not installed, or `ca_file` or the proxy cannot be used.
        """
        made = self._made
        if made is None:
            made = self._make()
            with self._lock:
                # Two threads may both get here; one wins. The other's has no connection yet.
                self._made = made = self._made or made
        return made

    async def get_async(self) -> Transport:
        """As `get`. Made in a thread: the event loop has other things to do meanwhile.

        Raises:
            ProviderError: no thread can be started (`sent` is False).
        """
        made = self._made
        if made is not None:
            return made
        with self._lock:
            making = self._making
            if making is None:
                making = self._making = self._start_making()
        try:
            return await awaitable(making)
        except asyncio.CancelledError:
            raise
        except Exception:
            self._forget()  # whatever was wrong may be mended by the next call
            raise

    def _start_making(self) -> Future[Transport]:
        try:
            return start_in_thread(self._get_for_asyncio)
        except BlockingIOError as error:
            raise ProviderError(f"no HTTP library can be loaded: {error}", sent=False) from error

    def _get_for_asyncio(self) -> Transport:
        made = self.get()
        made.load()
        return made

    def close(self) -> None:
        """Close idle connections now, busy ones when they are done."""
        if self._made is not None:
            self._made.close()

    def _forget(self) -> None:
        self._making = None

    def _make(self) -> Transport:
        name = chosen(self._wanted, self._url)
        if name == "httpx":
            from lee_llm_router.providers.http.transport.httpx_transport import HTTPXTransport  # noqa: PLC0415

            return HTTPXTransport(self._url, ca_file=self._ca_file, max_response_bytes=self._limit)
        from lee_llm_router.providers.http.transport.httptools_transport import HTTPToolsTransport  # noqa: PLC0415

        return HTTPToolsTransport(self._url, ca_file=self._ca_file, max_response_bytes=self._limit)
