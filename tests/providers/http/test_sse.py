"""Server-sent events: the rules of the HTML standard, whatever pieces the bytes come in."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.http.dialects.sse import Event, EventParser

LIMIT = 10_000


def parse(*pieces: bytes, limit: int = LIMIT) -> list[Event]:
    parser = EventParser(limit)
    return [event for piece in pieces for event in parser.feed(piece)]


def by_the_book(stream: bytes) -> list[tuple[str, str, str]]:
    """The standard's algorithm, step by step, on the whole decoded stream: data, type, id."""
    text = stream.decode("utf-8", "replace")
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").replace("\r\n", "\n").replace("\r", "\n")
    events = []
    data, kind, last_id = "", "", ""
    for line in text.split("\n")[:-1]:
        if line == "":
            if data != "":
                events.append((data[:-1], kind or "message", last_id))
            data, kind = "", ""
        elif not line.startswith(":"):
            name, colon, value = line.partition(":")
            if colon and value.startswith(" "):
                value = value[1:]
            if name == "data":
                data += value + "\n"
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                last_id = value
    return events


CASES: dict[str, tuple[bytes, list[Event]]] = {
    "one event": (b"data: a\n\n", [Event(b"a")]),
    "several": (b"data: a\n\ndata: b\n\n", [Event(b"a"), Event(b"b")]),
    "no space after the colon": (b"data:a\n\n", [Event(b"a")]),
    "only the first space is taken": (b"data:  a \n\n", [Event(b" a ")]),
    "several lines of data": (b"data: a\ndata\ndata: b\n\n", [Event(b"a\n\nb")]),
    "empty data is an event": (b"data\n\ndata:\n\n", [Event(b""), Event(b"")]),
    "no data is none": (b"event: x\n\n\n\nid: 1\n\n", []),
    "a type holds for one event": (b"event: x\ndata: a\n\ndata: b\n\n", [Event(b"a", "x"), Event(b"b")]),
    "an id holds until the next": (b"id: 1\ndata: a\n\ndata: b\n\n", [Event(b"a", id="1"), Event(b"b", id="1")]),
    "an id can be taken back": (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [Event(b"a", id="1"), Event(b"b")]),
    "an id with NUL is none": (b"id: 1\nid: \0\ndata: a\n\n", [Event(b"a", id="1")]),
    "comments": (b": ping\n\n:\ndata: a\n: in between\ndata: b\n\n", [Event(b"a\nb")]),
    "unknown fields": (b"Data: x\ndata x\nfoo: bar\n data: x\ndata: a\n\n", [Event(b"a")]),
    "CR": (b"data: a\rdata: b\r\r", [Event(b"a\nb")]),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\n", [Event(b"a\nb")]),
    "line ends mixed": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [Event(b"a"), Event(b"b"), Event(b"c")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
    "only the first mark is taken": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [Event(b"b")]),
    "what begins like a mark": (b"\xef\xbb\n\ndata: a\n\n", [Event(b"a")]),
    "no empty line at the end": (b"data: a\n\ndata: b\n", [Event(b"a")]),
    "no line end at the end": (b"data: a\n\ndata: b", [Event(b"a")]),
    "colons in data": (b"data: {\"a\": \"b: c\"}\n\n", [Event(b'{"a": "b: c"}')]),
    "no other character ends a line": ("data: a\u2028\x85\x0c\n\n".encode(), [Event("a\u2028\x85\x0c".encode())]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_standards_rules(case: str) -> None:
    """In one piece, byte by byte, and cut in two at every place."""
    stream, events = CASES[case]
    assert parse(stream) == events
    assert parse(*(bytes([byte]) for byte in stream)) == events
    for cut in range(len(stream)):
        assert parse(stream[:cut], b"", stream[cut:]) == events, cut


def test_a_character_cut_in_two_comes_out_whole() -> None:
    stream = "data: é€😀\n\n".encode()
    assert parse(*(bytes([byte]) for byte in stream)) == [Event("é€😀".encode())]


def test_bad_utf8_in_data_is_left_for_the_reader_to_see() -> None:
    """Replaced silently, a damaged answer would pass for a whole one. Type and id are replaced as the standard says."""
    assert parse(b"event: \xff\nid: \xff\ndata: \xff\n\n") == [Event(b"\xff", "\ufffd", "\ufffd")]


@pytest.mark.parametrize(
    ("stream", "retry"),
    [
        (b"retry: 1500\n", 1500), (b"retry:10\nretry: soon\n", 10), (b"retry: -1\n", None), (b"retry: 1.5\n", None),
        (b"retry\n", None), (b"retry: " + b"9" * 5000 + b"\n", None), ("retry: ٣\n".encode(), None),
    ],
)  # fmt: skip
def test_retry_is_digits_or_nothing(stream: bytes, retry: int | None) -> None:
    parser = EventParser(LIMIT)
    parser.feed(stream)
    assert parser.retry == retry


PIECES = st.one_of(
    st.sampled_from([b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"data: x\n\n"]),
    st.sampled_from(["é".encode(), "😀".encode(), b"\xef\xbb\xbf", b"\0", b"7"]),
    st.binary(max_size=6),
)


@given(st.lists(PIECES, max_size=40).map(b"".join), st.lists(st.integers(0, 200), max_size=20))
@example(b"\xef\xbbdata: a\n\n", [1])
@example(b"data: a\r\n\r\n", [8, 9, 10])
def test_any_bytes_in_any_pieces_give_what_the_standards_algorithm_gives(stream: bytes, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    pieces = [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    found = [(event.data.decode("utf-8", "replace"), event.event, event.id) for event in parse(*pieces)]
    assert found == by_the_book(stream)


LONG = {
    "a long line": b"data: " + b"x" * 100,
    "a long line that ends": b"data: " + b"x" * 100 + b"\n\n",
    "many lines": b"data: x\n" * 20,
    "a long comment": b":" + b"x" * 100 + b"\n",
}


@pytest.mark.parametrize("case", LONG)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_over_the_limit_is_no_answer(case: str, size: int) -> None:
    """The events before it are given first, however the bytes are cut; after it there are none."""
    stream = b"data: a\n\n" + LONG[case] + b"\n\ndata: b\n\n"
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)] + [b"\n"]
    parser, events = EventParser(50), []
    with pytest.raises(InvalidResponseError, match="longer than 50 bytes") as caught:
        for piece in pieces:
            events += parser.feed(piece)
    assert caught.value.final
    assert events == [Event(b"a")]
    with pytest.raises(InvalidResponseError):
        parser.feed(b"data: c\n\n")


def test_the_limit_is_one_for_each_event() -> None:
    """A stream as a whole may be longer."""
    assert len(parse(*[b": ping\n\ndata: " + b"x" * 30 + b"\n\n"] * 50, limit=50)) == 50
