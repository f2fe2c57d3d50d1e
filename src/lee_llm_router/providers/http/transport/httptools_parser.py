"""Parses the bytes of one response with httptools, and refuses what llhttp accepts although it is not HTTP."""

from __future__ import annotations

import re

import httptools

from lee_llm_router.providers.http.transport.chunks import ChunkReader

_MAX_BYTES_WITHOUT_BODY = 100 * 1024
"""Most bytes received in a row without any body bytes: headers, trailers, chunk extensions."""
_FIRST_STATUS = 100
_FINAL_STATUS = 200
"""Lower statuses belong to interim responses."""
_START = b"HTTP/"
_OTHER_START = re.compile(rb"\n(?:RTSP|ICE)/[0-9.]+ [0-9]{3}")
"""The first line of a response in other protocols that llhttp accepts."""
_REASON = re.compile(rb"(?:[ \t]|[^\x00\s])*")
"""What h11 accepts as a reason phrase."""
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_TAIL_SIZE = 8
"""Bytes at the end of the received data in which to look for the response's end: two line endings, and more."""


class ResponseParser:
    """Collects what httptools reports about one response. Skips interim responses (100 Continue, 103 Early Hints)."""

    __slots__ = (
        "_beginning", "_body_in_data", "_bytes_without_body", "_chunks", "_data", "_has_body", "_heads", "_last_part",
        "_parser", "_parts_before", "_tail", "_was_in_body", "done", "fault", "has_extra", "has_headers", "headers",
        "keep_alive", "parts", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.parts: list[bytes] = []
        """Parts of the body not taken yet."""
        self.has_headers = False
        """Whether the status and all headers have arrived."""
        self.done = False
        """Whether the response is complete."""
        self.keep_alive = False
        """Whether the server keeps the connection open after it."""
        self.has_extra = False
        """Whether bytes past its end were received."""
        self.fault: object = None
        """What is wrong with it, if anything is."""
        self._bytes_without_body = 0
        self._beginning: list[bytes] = []
        """What was received before the body."""
        self._heads = 0
        """Responses begun, including interim ones."""
        self._has_body = False
        """Whether any of the body has arrived."""
        self._chunks: ChunkReader | None = None
        """Reads the body if httptools cannot."""
        self._data = self._tail = self._last_part = b""
        """The data received last, the end of all received data, and the last part of the body in it."""
        self._body_in_data = 0
        self._parts_before = 0
        """Parts that existed before it."""
        self._was_in_body = False
        """Whether the headers were complete before it."""
        parser = httptools.HttpResponseParser(self)
        self._parser: httptools.HttpResponseParser | None = parser
        """Dropped at the end of the response: the two refer to each other."""
        # RFC 9112: a line may end with LF alone (2.2); chunks take precedence over a length (6.3), and such a
        # connection is closed here. A space between a chunk's size and the end of its line is harmless; some servers
        # pad. An interim response may say "Connection: close" or be HTTP/1.0, and the real one still follows.
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_keep_alive=True,
        )

    def feed(self, data: bytes) -> bool:
        """Parse received data; return whether it is valid."""
        self._data, self._was_in_body, self._parts_before = data, self.has_headers, len(self.parts)
        self._tail = data[-_TAIL_SIZE:] if len(data) >= _TAIL_SIZE else (self._tail + data)[-_TAIL_SIZE:]
        if not self._has_body:
            self._beginning.append(data)
            if not self.has_headers and not self._begins_well():
                return False
        if self._chunks is not None:
            self._feed_chunks(self._chunks, data)
        else:
            self._feed_parser(data)
        if self.parts and not self._has_body:
            self._has_body = True
            self._beginning.clear()
        if self.fault is not None and not self.done:
            return False
        if self.parts or self.done:
            self._bytes_without_body = 0
            return True
        self._bytes_without_body += len(data)
        if self._bytes_without_body > _MAX_BYTES_WITHOUT_BODY:
            self.fault = "endless headers"
        return self.fault is None

    def has_rest(self, is_chunked: bool) -> bool:
        """Whether bytes past the end of the response were received. llhttp skips line endings there.

        Args:
            is_chunked: Whether the response was chunked.
        """
        if self.has_extra:
            return True
        if self._body_in_data and not is_chunked:
            if self._was_in_body:
                return self._body_in_data != len(self._data)
            return not self._data.endswith(self._last_part)
        # The last line ending, and that of the blank line after it.
        end = self._tail[len(self._tail.rstrip(b"\r\n")) :]
        return end.endswith(b"\r") or end.count(b"\n") > 2

    def _feed_parser(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr] # it is dropped only at the end of the answer
        except httptools.HttpParserUpgrade:
            self.fault = "it changes the protocol"
        except httptools.HttpParserCallbackError as error:
            # A callback raised this, because of an interruption or a bug: the response is not at fault.
            raise (error.__context__ or error) from None
        except httptools.HttpParserError as error:
            if self.done:
                self.has_extra = True
            elif self.has_headers and not self._has_body and "chunk ext" in str(error).lower():
                self._read_chunks_ourselves()
            else:
                self.fault = error
        else:
            if self._heads > 1 and not self._was_in_body and _OTHER_START.search(b"".join(self._beginning)):
                self.fault, self.done, self.has_headers = "it is not HTTP", False, False
                self.parts.clear()

    def _begins_well(self) -> bool:
        """Whether what has arrived so far begins like an HTTP response: llhttp accepts other protocols too."""
        first = self._beginning[0]
        if len(first) < len(_START):
            first = b"".join(self._beginning)[: len(_START)]
        if first.startswith(_START) or (len(first) < len(_START) and _START.startswith(first)):
            return True
        self.fault = "it is not HTTP"
        return False

    def _read_chunks_ourselves(self) -> None:
        """Start the body again, with a reader that accepts extensions in any form. The connection is closed
        afterwards."""
        beginning = b"".join(self._beginning)
        at = 0
        for _ in range(self._heads):
            blank = _BLANK_LINE.search(beginning, at)
            at = len(beginning) if blank is None else blank.end()
        self._parser = None
        self._chunks = ChunkReader()
        self._feed_chunks(self._chunks, beginning[at:])

    def _feed_chunks(self, chunks: ChunkReader, data: bytes) -> None:
        try:
            parts = chunks.feed(data)
        except ValueError as error:
            self.fault = error
            return
        self.parts += parts
        self.done, self.has_extra = chunks.done, chunks.has_extra

    def on_message_begin(self) -> None:
        """Called by httptools: a response begins."""
        if self.done:
            self.has_extra = True
        else:
            self._heads += 1
            self.headers = []

    def on_status(self, reason: bytes) -> None:
        """Called by httptools: the reason phrase."""
        if not (reason.isalnum() or _REASON.fullmatch(reason)):
            self.fault = "a reason that holds control characters"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools: a header field, or a field of the trailer."""
        if not self.has_headers:  # else it is a trailer
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by httptools: the status and all headers have arrived."""
        if self._parser is not None:
            self.status = self._parser.get_status_code()
            if self.status < _FIRST_STATUS:
                self.fault = "a status below 100"
            self.has_headers = self.status >= _FINAL_STATUS and self.fault is None

    def on_body(self, data: bytes) -> None:
        """Called by httptools: a part of the body."""
        if self.has_headers and not self.done:
            self.parts.append(data)

    def on_message_complete(self) -> None:
        """Called by httptools: the response has ended."""
        self._bytes_without_body = 0
        if self.has_headers and self._parser is not None:
            self.done = True
            received = self.parts[self._parts_before :]
            self._body_in_data = sum(map(len, received))
            self._last_part = received[-1] if received else b""
            self.keep_alive = self._parser.should_keep_alive()
            self._parser = None
