"""A loopback server that speaks enough of the Responses API to make a client see every way it can go wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class Exchange:
    """What a behaviour may do with one request: answer in full, or write a stream bit by bit, or stay silent."""

    def __init__(self, handler: BaseHTTPRequestHandler, seen: Seen, stop: threading.Event) -> None:
        self.seen = seen
        self._handler = handler
        self._stop = stop

    def reply(
        self, status: int, body: str | dict[str, Any] = "", headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:  # fmt: skip
        """One whole response; a mapping goes out as JSON."""
        kind = content_type or ("application/json" if isinstance(body, dict) else "text/html")
        payload = (json.dumps(body) if isinstance(body, dict) else body).encode()
        self._handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(payload)), **(headers or {})}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()
        self._handler.wfile.write(payload)

    def open(self) -> None:
        """Start an event stream that ends when the connection does."""
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", "text/event-stream")
        self._handler.send_header("Connection", "close")
        self._handler.end_headers()
        self._handler.wfile.flush()
        self._handler.close_connection = True

    def event(self, name: str, **data: Any) -> None:
        """One server-sent event."""
        self.raw(f"event: {name}\ndata: {json.dumps({'type': name, **data}, ensure_ascii=False)}\n\n")

    def raw(self, text: str) -> None:
        """Bytes of the stream as they are."""
        self._handler.wfile.write(text.encode())
        self._handler.wfile.flush()

    def silence(self) -> None:
        """Say nothing until the server is stopped."""
        self._stop.wait()


Behaviour: TypeAlias = Callable[[Exchange], None]


def message(text: str) -> dict[str, Any]:
    """An output item that holds `text`."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


USAGE = {
    "input_tokens": 101, "input_tokens_details": {"cached_tokens": 40},
    "output_tokens": 23, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 124,
}  # fmt: skip


def answer(text: str, usage: dict[str, Any] | None = USAGE) -> Behaviour:
    """A good stream that says `text`."""

    def behave(exchange: Exchange) -> None:
        exchange.open()
        exchange.event("response.created", response={"id": "resp_1"})
        exchange.event("response.output_item.done", output_index=0, item=message(text))
        exchange.event("response.completed", response={"id": "resp_1", "output": [message(text)], "usage": usage})

    return behave


def status(code: int, body: str | dict[str, Any] = "", headers: Mapping[str, str] | None = None) -> Behaviour:
    """A response with this status and body."""
    return lambda exchange: exchange.reply(code, body, headers)


def failed(code: str, text: str, **details: Any) -> Behaviour:
    """A stream that opens well and then reports a failure inside."""

    def behave(exchange: Exchange) -> None:
        exchange.open()
        exchange.event("response.created", response={"id": "resp_1"})
        error = {"code": code, "message": text, **details}
        exchange.event("response.failed", response={"id": "resp_1", "status": "failed", "error": error})

    return behave


def incomplete(reason: str) -> Behaviour:
    """A stream that ends early by the vendor's own word."""

    def behave(exchange: Exchange) -> None:
        exchange.open()
        exchange.event("response.created", response={"id": "resp_1"})
        exchange.event("response.output_item.done", output_index=0, item=message("half an answ"))
        details = {"id": "resp_1", "status": "incomplete", "incomplete_details": {"reason": reason}}
        exchange.event("response.incomplete", response=details)

    return behave


def cut(text: str, garbage: str = "") -> Behaviour:
    """A stream that holds a whole message and breaks before its end."""

    def behave(exchange: Exchange) -> None:
        exchange.open()
        exchange.event("response.created", response={"id": "resp_1"})
        exchange.event("response.output_item.done", output_index=0, item=message(text))
        if garbage:
            exchange.raw(f"event: response.completed\ndata: {garbage}\n\n")

    return behave


def silent_stream(exchange: Exchange) -> None:
    """Headers, then nothing."""
    exchange.open()
    exchange.silence()


def silent(exchange: Exchange) -> None:
    """No response at all."""
    exchange.silence()


@dataclass
class ResponsesServer:
    """Answers each POST with the current behaviour and keeps what it saw."""

    behaviour: Behaviour
    seen: list[Seen] = field(default_factory=list)
    base_url: str = ""

    @property
    def posts(self) -> list[Seen]:
        """The requests for an answer (a client may also ask for the list of models)."""
        return [one for one in self.seen if one.method == "POST"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is what these tests are about."""


@contextmanager
def serve(behaviour: Behaviour) -> Iterator[ResponsesServer]:
    """A running server on a free loopback port."""
    state = ResponsesServer(behaviour)
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _take(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(raw) if raw else {}
            except ValueError:
                body = {"undecoded": len(raw)}
            seen = Seen(self.command, self.path, dict(self.headers.items()), body)
            state.seen.append(seen)
            if self.command == "GET":
                Exchange(self, seen, stop).reply(404, {"error": {"message": "no such page"}})
            else:
                state.behaviour(Exchange(self, seen, stop))

        do_GET = do_POST = _take

    with _Server(("127.0.0.1", 0), Handler) as server:
        state.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            stop.set()
            server.shutdown()
            thread.join()
