"""Inflates compressed data in bounded steps: gzip with any number of members, and both variants of deflate."""

from __future__ import annotations

import zlib

from lee_llm_router.errors import InvalidResponseError

STEP_SIZE = 262_144
"""Most bytes that one step returns: about a millisecond's work, so that an event loop can run other tasks in
between."""
_INPUT_SIZE = 16_384
"""Most bytes that zlib gets at once: it copies what it leaves unread."""
_MEMBERS_PER_STEP = 256
"""Most members begun in one step: empty members produce no output that could be counted."""


class Inflater:
    """Takes compressed bytes, and returns their contents step by step.

    Zeros may follow the end of the data, or with gzip another member (RFC 1952, 2.2). Anything else there means that
    the data is corrupt. The zeros are discarded.

    Args:
        is_gzip: Whether the data is gzip; otherwise it is deflate, with or without a zlib header.
    """

    __slots__ = ("_has_begun", "_has_zeros", "_input", "_is_full", "_is_gzip", "_position", "_stream")

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: zlib._Decompress | None = None
        """None before the first member and between members."""
        self._input = b""
        self._position = 0
        """How much of `_input` has been processed."""
        self._has_begun = False
        self._has_zeros = False
        """Whether zeros have followed the end. Only zeros may come after them."""
        self._is_full = False
        """Whether zlib returned as much as allowed, so that it may hold more."""

    @property
    def has_more(self) -> bool:
        """Whether `step` has work to do before the next `feed`."""
        left = len(self._input) - self._position
        return left > 1 if self._stream is None else left > 0 or self._is_full

    @property
    def is_complete(self) -> bool:
        """Whether all fed data has ended properly. True if there was no data."""
        rest = self._input[self._position :]
        return self._stream is None and (not rest or (self._has_begun and rest == b"\0"))

    def feed(self, data: bytes) -> None:
        """Add `data` to the input."""
        self._input = self._input[self._position :] + data
        self._position = 0

    def step(self, limit: int) -> bytes:
        """Return the next bytes: at most `limit`, and at most `STEP_SIZE`. The result may be empty although there is
        input.

        Raises:
            InvalidResponseError: the data is corrupt.
        """
        left = min(limit, STEP_SIZE)
        parts: list[bytes] = []
        for _ in range(_MEMBERS_PER_STEP):
            if self._stream is None and not self._begin_member():
                break
            while self._stream is not None and self.has_more and left > 0:
                part = self._inflate(self._stream, left)
                left -= len(part)
                parts.append(part)
            if not self.has_more or left <= 0:
                break
        return b"".join(parts)

    def _begin_member(self) -> bool:
        """Begin the next member, if there is one; discard zeros after the last one."""
        if self._has_begun:
            self._skip_zeros()
            if self._position == len(self._input):
                return False
            if self._has_zeros or not self._is_gzip:
                raise _corrupt()
        first_bytes = self._input[self._position : self._position + 2]
        if len(first_bytes) < 2:
            return False
        self._has_begun = True
        self._stream = zlib.decompressobj(_window_bits(self._is_gzip, first_bytes))
        return True

    def _skip_zeros(self) -> None:
        rest = self._input[self._position :].lstrip(b"\0")
        self._has_zeros = self._has_zeros or len(rest) < len(self._input) - self._position
        self._position = len(self._input) - len(rest)

    def _inflate(self, stream: zlib._Decompress, limit: int) -> bytes:
        piece = self._input[self._position : self._position + _INPUT_SIZE]
        try:
            data = stream.decompress(piece, limit)
        except zlib.error:
            raise _corrupt() from None
        self._position += len(piece) - len(stream.unconsumed_tail) - len(stream.unused_data)
        self._is_full = len(data) == limit and not stream.eof
        if stream.eof:
            self._stream = None
        return data


def _corrupt() -> InvalidResponseError:
    return InvalidResponseError("the answer's compressed data is corrupt")


def _window_bits(is_gzip: bool, first_bytes: bytes) -> int:
    """Return zlib's number for the format. By RFC 9110 "deflate" is zlib's format, but some servers send raw
    deflate."""
    if is_gzip:
        return 16 + zlib.MAX_WBITS
    has_zlib_header = first_bytes[0] & 0x0F == zlib.DEFLATED and int.from_bytes(first_bytes[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if has_zlib_header else -zlib.MAX_WBITS
