"""The way to a server: its address, the proxy the environment names for it, and whom TLS is to trust."""

from __future__ import annotations

import os
import re
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from lee_llm_router.errors import InvalidRequestError, LLMRouterError, ProviderError
from lee_llm_router.providers.http.transport.api import RawHeaders, WireRequest, is_loopback

T = TypeVar("T")

_MAX_HEADS = 8
"""A provider has two: for answers in one piece, and for streamed ones. More, where its key changes."""
_MAX_SEEN = 32
_PORTS = {"http": 80, "https": 443}
_SAFE = "/%!$&'()*+,;=:@~-._"
"""Characters of a URL's path that stay as they are (RFC 3986, 3.3). `%`: what is quoted is not quoted again."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
"""A header's name and value (RFC 9110, 5.1 and 5.5)."""


class Address(NamedTuple):
    """What a URL says, in the forms it is needed in."""

    scheme: str
    host: str
    """Without brackets, in ASCII."""
    port: int
    authority: str
    """As the `Host` header has it: without the scheme's own port."""
    target: str
    """Path and query."""
    authorization: bytes | None
    """User and password of a proxy, as a header's value."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """What a connection is bound to."""
        return self[:3]


@lru_cache(maxsize=64)
def address_of(url: str) -> Address:
    """Take `url` apart.

    Raises:
        InvalidRequestError: it is none that HTTP can go to. `url` is not repeated: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else _in_ascii(host)
    except ValueError as error:
        raise bad_request() from error
    standard = _PORTS.get(parts.scheme)
    if not host or standard is None:
        raise bad_request()
    name = f"[{host}]" if ":" in host else host
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else "")
    authority = name if port in (None, standard) else f"{name}:{port}"
    return Address(parts.scheme, host, port or standard, authority, target, _basic(parts.username, parts.password))


def _in_ascii(host: str) -> str:
    """By IDNA 2008. The codec of Python's own is that of 2003, in which `faß.de` is `fass.de`, somebody else's."""
    import idna  # noqa: PLC0415 - it takes 20 ms, for names that hardly any server of models has

    return idna.encode(host).decode("ascii")


def _basic(user: str | None, password: str | None) -> bytes | None:
    if user is None and password is None:
        return None
    return b"Basic " + b64encode(f"{unquote(user or '')}:{unquote(password or '')}".encode())


def bad_request() -> InvalidRequestError:
    """The error for what HTTP cannot carry. It does not repeat what that is: it may be a key."""
    return InvalidRequestError("the request's URL or headers cannot be put into HTTP", sent=False)


class Heads(Generic[T]):
    """What a transport makes of the URL and headers of its requests: once, for a tuple of headers that comes again.

    Headers that came once are not kept: they may hold a key that was meant for one call. Nor do they put an end to
    what is kept.

    Args:
        origin: Where all the requests go.
        make: Makes it.
    """

    def __init__(self, origin: tuple[str, str, int], make: Callable[[WireRequest], T]) -> None:
        self._origin = origin
        self._make = make
        self._known: dict[RawHeaders, tuple[str, str, T]] = {}
        self._seen: deque[int] = deque(maxlen=_MAX_SEEN)

    def of(self, request: WireRequest) -> T:
        """What was made of those of `request`.

        Raises:
            InvalidRequestError: HTTP cannot carry them, or they are for another server.
        """
        headers = request.headers
        fixed = type(headers) is tuple
        known = self._known.get(headers) if fixed else None
        if known is not None and known[0] == request.url and known[1] == request.method:
            return known[2]
        if address_of(request.url).origin != self._origin or not _TOKEN.fullmatch(request.method.encode()):
            raise bad_request()
        for name, value in headers:
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise bad_request()
        made = self._make(request)
        if fixed:
            self._remember(request, made)
        return made

    def _remember(self, request: WireRequest, made: T) -> None:
        mark = hash(request.headers)
        if mark not in self._seen:
            self._seen.append(mark)
            return
        if len(self._known) >= _MAX_HEADS:
            self._known.clear()  # they are made again by the calls after the next
        self._known[request.headers] = (request.url, request.method, made)


def proxy_for(url: str) -> str | None:
    """The URL of the proxy the environment names for `url`. This machine itself is never behind one."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def bad_proxy(error: Exception | None = None) -> LLMRouterError:
    """The error for a proxy that cannot be used. Without its address, which may hold a password."""
    failure = ProviderError("the proxy in the environment is not a URL of a kind that is known", final=True, sent=False)
    failure.__cause__ = error
    return failure


def context_for(url: str, ca_file: str | None) -> ssl.SSLContext:
    """The TLS context for connections to `url`: it trusts the usual authorities, and those in `ca_file`.

    Raises:
        ProviderError: `ca_file` cannot be used.
    """
    if url.startswith("http:"):
        return _untrusting()
    try:
        return _context(ca_file, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:  # ssl.SSLError is one
        raise ProviderError(f"ca_file cannot be used: {error.strerror or error}", final=True, sent=False) from error


@lru_cache(maxsize=16)
def _context(ca_file: str | None, usual_file: str | None, usual_folder: str | None) -> ssl.SSLContext:
    """The one context for these settings. Building it reads all authorities: 20 ms, so not for each connection."""
    # As httpx does: the file goes before the folder.
    capath = None if usual_file else usual_folder or None
    context = ssl.create_default_context(cafile=usual_file or (None if capath else certifi.where()), capath=capath)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=1)
def _untrusting() -> ssl.SSLContext:
    """For plain http, where no certificate is looked at: verifies, and trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
