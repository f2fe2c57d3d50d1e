"""Parses URLs: finds where a server is."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from lee_llm_router._util.hosts import host_port
from lee_llm_router.errors import InvalidRequestError

_PORTS = {"http": 80, "https": 443}
_SAFE = "/%!$&'()*+,;=:@~-._"
"""Characters of a URL's path that stay unchanged (RFC 3986, 3.3). Includes `%`, so that nothing is quoted twice."""


class Address(NamedTuple):
    """The parts of a URL, in the forms that callers need."""

    scheme: str
    host: str
    """Without brackets, in ASCII."""
    port: int
    authority: str
    """As in the `Host` header: without the scheme's default port."""
    target: str
    """Path and query."""
    authorization: bytes | None
    """User and password of a proxy, as a header value."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what a connection is for."""
        return self[:3]


@lru_cache(maxsize=64)
def address_of(url: str) -> Address:
    """Parse `url`.

    Raises:
        InvalidRequestError: HTTP cannot reach it. The error omits `url`, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        host, port = host_port(parts.netloc)
        host = host if host.isascii() else _to_ascii(host)
    except ValueError as error:
        raise bad_request() from error
    default_port = _PORTS.get(parts.scheme)
    if default_port is None:
        raise bad_request()
    name = f"[{host}]" if ":" in host else host
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else "")
    authority = name if port in (None, default_port) else f"{name}:{port}"
    authorization = _basic_authorization(parts.username, parts.password)
    return Address(parts.scheme, host, default_port if port is None else port, authority, target, authorization)


def _to_ascii(host: str) -> str:
    """Encode by IDNA 2008. Python's own codec implements IDNA 2003, where `faß.de` becomes `fass.de`, which belongs to
    someone else."""
    import idna  # noqa: PLC0415 - it takes 20 ms to load, and hardly any server of models has such a name

    return idna.encode(host).decode("ascii")


def _basic_authorization(user: str | None, password: str | None) -> bytes | None:
    if user is None and password is None:
        return None
    return b"Basic " + b64encode(f"{unquote(user or '')}:{unquote(password or '')}".encode())


def bad_request() -> InvalidRequestError:
    """Return the error for a request that HTTP cannot carry. It omits the request, which may hold a key."""
    return InvalidRequestError("the request's URL or headers cannot be put into HTTP", sent=False)
