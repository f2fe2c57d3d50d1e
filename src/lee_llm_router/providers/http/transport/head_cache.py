"""Caches request heads (request line and headers), so that repeated ones are written only once."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from lee_llm_router.providers.http.transport.address import address_of, bad_request
from lee_llm_router.providers.http.transport.api import RawHeaders, WireRequest

HeadT = TypeVar("HeadT")

_MAX_HEADS = 8
"""A provider has two: one for whole answers, one for streams. It has more for a while if its key changes."""
_MAX_SEEN = 32
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
"""A header's name and value (RFC 9110, 5.1 and 5.5)."""


class HeadCache(Generic[HeadT]):
    """Checks the URL and headers of requests, and makes heads in the form that a transport needs.

    A head is cached when its tuple of headers comes a second time. Headers that come only once are not kept, since they
    may hold a key meant for one call, and they evict no cached heads.

    Args:
        origin: Scheme, host and port of all requests.
        make: Makes the head of a request.
    """

    def __init__(self, origin: tuple[str, str, int], make: Callable[[WireRequest], HeadT]) -> None:
        self._origin = origin
        self._make = make
        self._heads: dict[RawHeaders, tuple[str, str, HeadT]] = {}
        """Headers -> URL, method and head."""
        self._seen: deque[int] = deque(maxlen=_MAX_SEEN)
        """Hashes of headers that have come once: the headers themselves are not kept."""

    def get(self, request: WireRequest) -> HeadT:
        """Return the head of `request`.

        Raises:
            InvalidRequestError: HTTP cannot carry the URL or the headers, or they are for another server.
        """
        headers = request.headers
        is_constant = type(headers) is tuple
        known = self._heads.get(headers) if is_constant else None
        if known is not None and known[0] == request.url and known[1] == request.method:
            return known[2]
        if address_of(request.url).origin != self._origin or not _TOKEN.fullmatch(request.method.encode()):
            raise bad_request()
        for name, value in headers:
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise bad_request()
        head = self._make(request)
        if is_constant:
            self._remember(request, head)
        return head

    def _remember(self, request: WireRequest, head: HeadT) -> None:
        mark = hash(request.headers)
        if mark not in self._seen:
            self._seen.append(mark)
            return
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()  # calls make those still in use again
        self._heads[request.headers] = (request.url, request.method, head)
