"""Decodes the body of an answer piece by piece, within a limit on its size."""

from __future__ import annotations

import zlib

from lee_llm_router.errors import InvalidResponseError

ERROR_BODY_LIMIT = 65536
"""Bytes kept of an answer that is not a success: enough for any error message."""
MAX_DIGITS = 20
"""Digits a Content-Length may have: as many as 2**64. Python refuses to read numbers of thousands of digits."""


class BodyDecoder:
    """Decodes the body of one answer, and takes at most `limit` bytes of it.

    The status of an error says more than its body. So a body that is too long, broken or undecodable makes a success
    fail, but only cuts short the body of an error: `cut` says so.

    Args:
        status: HTTP status of the answer.
        coding: Its Content-Encoding header.
        length: Its Content-Length header.
        limit: Bytes allowed, decoded.

    Raises:
        InvalidResponseError: a success announces more than `limit` bytes.
    """

    __slots__ = ("_coding", "_first_bytes", "_inflater", "_is_success", "_limit", "_size", "cut")

    def __init__(self, status: int, coding: str | None, length: str | None, limit: int) -> None:
        self._is_success = 200 <= status < 300
        self._limit = limit if self._is_success else min(limit, ERROR_BODY_LIMIT)
        self._coding = (coding or "identity").strip().lower()
        self._size = 0
        self._first_bytes = b""
        self._inflater: zlib._Decompress | None = None
        self.cut = False
        if self._is_success and length is not None and _is_above(length, limit):
            raise self._too_long()

    def decode(self, data: bytes) -> bytes:
        """Decode the next piece. Return nothing and set `cut` if the rest of the body is not wanted.

        Raises:
            InvalidResponseError: the body of a success is too long or cannot be decoded.
        """
        try:
            if self._coding != "identity":
                data = self._inflate(data)
            self._size += len(data)
            if self._size > self._limit:
                raise self._too_long()
        except InvalidResponseError as error:
            self.fail(error)
            return b""
        return data

    def fail(self, error: Exception) -> None:
        """Give up on the rest of the body: raise `error` for a success, set `cut` for an error answer."""
        if self._is_success:
            raise error
        self.cut = True

    def finish(self) -> None:
        """Accept the end of the body.

        Raises:
            InvalidResponseError: the compressed data of a success is incomplete.
        """
        is_compressed = self._inflater is not None or self._first_bytes
        if is_compressed and not (self._inflater and self._inflater.eof):
            self.fail(InvalidResponseError("the answer's compressed data ends early"))

    def _inflate(self, data: bytes) -> bytes:
        if self._inflater is None:
            # The two kinds of deflate differ in their first two bytes.
            self._first_bytes = data = self._first_bytes + data
            if len(data) < 2:
                return b""
            self._inflater = zlib.decompressobj(_window_bits(self._coding, data))
        try:
            # One byte more than allowed is enough to see that it is too much.
            return self._inflater.decompress(data, self._limit - self._size + 1)
        except zlib.error as error:
            raise InvalidResponseError("the answer's compressed data is corrupt") from error

    def _too_long(self) -> InvalidResponseError:
        return InvalidResponseError(f"the answer is longer than {self._limit} bytes", final=True)


def _is_above(number: str, limit: int) -> bool:
    digits = number.lstrip("0")
    return digits.isdecimal() and (len(digits) > MAX_DIGITS or int(digits) > limit)


def _window_bits(coding: str, first_bytes: bytes) -> int:
    """Return zlib's number for `coding`. "deflate" is zlib's format by RFC 9110; some servers send raw deflate."""
    if coding in {"gzip", "x-gzip"}:
        return 16 + zlib.MAX_WBITS
    if coding == "deflate":
        has_zlib_header = first_bytes[0] & 0x0F == zlib.DEFLATED and int.from_bytes(first_bytes[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_zlib_header else -zlib.MAX_WBITS
    raise InvalidResponseError("the answer's Content-Encoding is none that was asked for", final=True)
