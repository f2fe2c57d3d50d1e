"""What only the transport over httptools has: a parser that calls back."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from helpers.servers import Server, answering, completion, eventually, json_answer
from lee_llm_router.providers.http.transport import httptools_parser, httptools_transport
from lee_llm_router.providers.http.transport.api import WireRequest
from lee_llm_router.providers.http.transport.httptools_transport import HTTPToolsTransport

OK = json_answer(completion())


@pytest.mark.parametrize(
    "place", ["on_message_begin", "on_header", "on_headers_complete", "on_body", "on_message_complete"]
)
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_interrupts_the_parser_comes_out_as_it_is(
    place: str, interruption: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal's handler runs wherever Python code runs; an error in our own code is no fault of the server."""

    def interrupt(*_: object) -> None:
        raise interruption

    monkeypatch.setattr(httptools_parser.ResponseParser, place, interrupt)
    with Server(answering(OK)) as server:
        transport = HTTPToolsTransport(server.url, max_response_bytes=1000)
        with pytest.raises(interruption):
            transport.send(WireRequest(server.url, (), b"{}"), 5)
        assert eventually(lambda: server.open == 0)
        transport.close()


def test_an_answer_that_was_read_leaves_nothing_to_the_garbage_collector() -> None:
    """The parser and what it calls hold each other, until the end of the answer."""
    made: list[weakref.ref[object]] = []

    class Parser(httptools_parser.ResponseParser):
        __slots__ = ("__weakref__",)

        def __init__(self) -> None:
            super().__init__()
            made.append(weakref.ref(self))

    with Server(answering(OK)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(httptools_transport, "ResponseParser", Parser)
        transport = HTTPToolsTransport(server.url, max_response_bytes=1000)
        gc.disable()
        try:
            transport.send(WireRequest(server.url, (), b"{}"), 5)
            asyncio.run(transport.send_async(WireRequest(server.url, (), b"{}"), 5))
            assert [parser() for parser in made] == [None, None]
        finally:
            gc.enable()
        transport.close()
