"""Decodes the body of a response piece by piece, up to a maximum size."""

from __future__ import annotations

from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.http.transport.inflater import Inflater

ERROR_BODY_LIMIT = 65536
"""Bytes kept of an unsuccessful response: enough for any error message."""
MAX_DIGITS = 20
"""Most digits of a Content-Length: as many as 2**64 has. Python refuses to parse numbers of thousands of digits."""
_RAW_SLACK = 65536
_FOREIGN_CODINGS = frozenset({
    "aes128gcm", "br", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress", "zstd",
})  # fmt: skip
"""Registered content codings (IANA) that are not decoded here: requests do not ask for them."""
_OURS = frozenset({"gzip", "x-gzip", "deflate"})


class BodyDecoder:
    """Decodes the body of one response, up to `limit` bytes.

    The status of an error matters more than its body. So a body that is too long, broken or undecodable makes a success
    fail, but only truncates the body of an error and sets `cut`.

    Args:
        status: HTTP status of the response.
        coding: Its Content-Encoding header.
        length: Its Content-Length header.
        limit: Bytes allowed, decoded.

    Raises:
        InvalidResponseError: a success announces more than `limit` bytes, or an unknown coding.
    """

    __slots__ = ("_inflater", "_is_success", "_limit", "_raw_size", "_size", "cut")

    def __init__(self, status: int, coding: str | None, length: str | None, limit: int) -> None:
        self._is_success = 200 <= status < 300
        self._limit = limit if self._is_success else min(limit, ERROR_BODY_LIMIT)
        self._size = self._raw_size = 0
        self.cut = False
        self._inflater = None if coding is None else self._inflater_for(coding)
        if self._is_success and length is not None and _is_above(length, limit):
            raise self._too_long()

    @property
    def has_more(self) -> bool:
        """Whether `decode` can return more without further data: it decompresses a bounded piece each time."""
        return self._inflater is not None and self._inflater.has_more and not self.cut

    def decode(self, data: bytes) -> bytes:
        """Decode the next piece, and the rest of the previous one. Return nothing and set `cut` if no more is wanted.

        Raises:
            InvalidResponseError: the body of a success is too long or cannot be decoded.
        """
        if self.cut:
            return b""
        try:
            if self._inflater is not None:
                data = self._inflate(self._inflater, data)
            self._size += len(data)
            if self._size > self._limit:
                raise self._too_long()
        except InvalidResponseError as error:
            self.fail(error)
            return b""
        return data

    def fail(self, error: Exception) -> None:
        """Give up on the rest of the body: raise `error` for a success, set `cut` for an error response."""
        if self._is_success:
            raise error
        self.cut = True

    def finish(self) -> None:
        """Accept the end of the body.

        Raises:
            InvalidResponseError: the compressed data of a success is incomplete.
        """
        if self._inflater is not None and not self._inflater.is_complete:
            self.fail(InvalidResponseError("the answer's compressed data ends early"))

    def _inflate(self, inflater: Inflater, data: bytes) -> bytes:
        self._raw_size += len(data)
        if self._raw_size > 2 * self._limit + _RAW_SLACK:
            # Empty members and padding add nothing to the size, yet take time.
            raise self._too_long()
        if data:
            inflater.feed(data)
        # One byte above the limit is enough to see that the body is too large.
        return inflater.step(self._limit - self._size + 1)

    def _inflater_for(self, codings: str) -> Inflater | None:
        """Return a decoder for `codings`; None if there is nothing to decode.

        A word that is no coding ("none", "utf-8") says nothing about the body.
        """
        words = [word.strip().lower() for word in codings.split(",")]
        real = [word for word in words if word in _FOREIGN_CODINGS or word in _OURS]
        if not real:
            return None
        if len(real) > 1 or real[0] in _FOREIGN_CODINGS:
            self.fail(InvalidResponseError("the answer's Content-Encoding is not one that was asked for", final=True))
            return None
        return Inflater(is_gzip=real[0] != "deflate")

    def _too_long(self) -> InvalidResponseError:
        return InvalidResponseError(f"the answer is longer than {self._limit} bytes", final=True)


def _is_above(number: str, limit: int) -> bool:
    digits = number.lstrip("0")
    return digits.isdecimal() and (len(digits) > MAX_DIGITS or int(digits) > limit)
