"""The server shows traces to who has the token, on this machine, and to nobody else; and nobody can hang it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.served import served
from helpers.support import FakeClock
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.report.feed import CallFeed
from lee_llm_router.telemetry.report.server import ReportServer

SECRET = b"a call that nobody else shall see"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalFileTraceStore]:
    files = LocalFileTraceStore(tmp_path)
    files.write(make(error=SECRET.decode()))
    yield files
    files.close()


@pytest.fixture
def server(store: LocalFileTraceStore, clock: FakeClock) -> Iterator[ReportServer]:
    yield from served(ReportServer(CallFeed(store, CallFilter(), 100, {}), clock=clock))


def _raw(server: ReportServer, request: bytes) -> bytes:
    """Send `request` as it is, and return all that comes."""
    with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=30)) as connection:
        connection.sendall(request)
        with suppress(ConnectionResetError):
            connection.shutdown(socket.SHUT_WR)
        return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def _ask(server: ReportServer, target: str | None = None, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """The status and all of the answer to a request with this `target`; None: the page, with its token."""
    target = f"/?token={server.token}" if target is None else target
    given = {"Host": f"127.0.0.1:{server.server_port}", **{name.replace("_", "-"): v for name, v in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    answer = _raw(server, f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
    return int(answer.split()[1]), answer


def test_the_page_needs_the_token(server: ReportServer) -> None:
    """With it, it is there; without, with another, a part, twice or in a cookie, nothing is told."""
    assert server.url == f"http://127.0.0.1:{server.server_port}/?token={server.token}"
    assert len(server.token) >= 40
    status, answer = _ask(server)
    assert (status, SECRET in answer) == (200, True)
    token = server.token
    for target in (
        "/", "/?token=", "/?token=x", f"/?token={token[:-1]}", f"/?token={token}x", f"/?token={token}&token={token}",
        f"/?Token={token}", f"/#token={token}", f"/{token}", "/?token=%00", "/?token=\u00e9", "/?once=", "/?once=None",
        "/calls?since=0", "/calls", "/nothing", "/?" + "&".join(f"a{n}=1" for n in range(99)) + f"&token={token}",
    ):  # fmt: skip
        status, answer = _ask(server, target)
        assert (status, SECRET in answer) == (403, False), target
    status, _ = _ask(server, "/", Cookie=f"token={token}", Authorization=f"Bearer {token}")
    assert status == 403
    assert b"Set-Cookie" not in answer


def test_each_server_has_a_token_of_its_own(store: LocalFileTraceStore) -> None:
    made = [ReportServer(CallFeed(store, CallFilter(), 1, {})) for _ in range(3)]
    for one in made:
        one.server_close()
    assert len({one.token for one in made}) == 3


def test_a_live_page_asks_with_the_token_in_a_header(server: ReportServer, store: LocalFileTraceStore) -> None:
    store.write(make("new"))
    server.feed.refresh()
    status, answer = _ask(server, "/calls?since=0", X_Report_Token=server.token)
    assert (status, b'"new"' in answer) == (200, True)
    assert _ask(server, "/calls?since=0", X_Report_Token="x")[0] == 403
    for odd in ("", "-1", "1e3", "\u0661", "9" * 400, "0&since=1"):
        assert _ask(server, f"/calls?since={odd}", X_Report_Token=server.token)[0] == 400


def test_new_calls_are_taken_up_by_themselves(
    server: ReportServer, store: LocalFileTraceStore, clock: FakeClock
) -> None:
    """A second after they were written, without anybody asking for them."""
    store.write(make("new"))
    clock.advance(1.0)
    for _ in range(1000):
        if b'"new"' in _ask(server, "/calls?since=0", X_Report_Token=server.token)[1]:
            return
    pytest.fail("never told")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example",
        "0.0.0.0", "127.0.0.2", "2130706433", "", "localhost:port", "127.0.0.1:1:1", " ", "127.0.0.1, evil.example",
        "127x0x0x1", "localhost.",
    ],
)  # fmt: skip
def test_another_name_for_this_host_is_refused(server: ReportServer, host: str) -> None:
    """A name that somebody points here (DNS rebinding) is none of this server's, whatever token comes."""
    status, answer = _ask(server, Host=host)
    assert (status, SECRET in answer) == (421, False)


def test_the_host_is_named_once(server: ReportServer) -> None:
    target = f"/?token={server.token}"
    own = f"Host: 127.0.0.1:{server.server_port}\r\n"
    for hosts in ("", own + "Host: evil.example\r\n", own + own):
        assert b" 421 " in _raw(server, f"GET {target} HTTP/1.1\r\n{hosts}\r\n".encode())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8080"])
def test_a_port_may_be_forwarded(server: ReportServer, host: str) -> None:
    """From another machine, by ssh: the page then has another port."""
    assert _ask(server, Host=host)[0] == 200
    assert _ask(server, Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"}, {"Origin": "http://localhost"}, {"Origin": "file://"},
        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "other"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ],
)  # fmt: skip
def test_pages_of_other_sites_are_refused(server: ReportServer, headers: dict[str, str]) -> None:
    """Those on another port of this machine too, and with the token."""
    for target in (None, "/calls?since=0"):
        status, answer = _ask(server, target, X_Report_Token=server.token, **headers)
        assert (status, SECRET in answer, b"Access-Control" in answer) == (403, False, False)


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "GOT", "X" * 300]
)
def test_it_can_be_read_only(server: ReportServer, method: str) -> None:
    status, answer = _ask(server, method=method, Content_Length="0")
    assert (status, SECRET in answer) == (405, False)
    assert b"Allow: GET, HEAD\r\n" in answer


def test_head_is_get_without_the_body(server: ReportServer) -> None:
    (status, head), (_, whole) = _ask(server, method="HEAD"), _ask(server)
    assert status == 200
    assert head.endswith(b"\r\n\r\n")
    assert re.sub(rb"Date: .*|Content-Length: .*", b"", whole.partition(b"\r\n\r\n")[0]) == re.sub(
        rb"Date: .*|Content-Length: .*", b"", head.removesuffix(b"\r\n\r\n")
    )


@pytest.mark.parametrize(
    "path",
    [
        "/..", "/../../etc/passwd", "/%2e%2e/", "/index.html", "/page/base.css", "/calls/", "/CALLS", "/;",
        "/favicon.ico",
    ],
)  # fmt: skip
def test_there_is_nothing_else(server: ReportServer, path: str) -> None:
    """No file of this machine, nor of the package, whatever the path."""
    assert _ask(server, path, X_Report_Token=server.token)[0] in (404, 421)


def test_an_address_with_another_host_is_refused(server: ReportServer) -> None:
    for target in (f"http://evil.example/?token={server.token}", "*", f"?token={server.token}", "@/"):
        assert _ask(server, target)[0] == 421


def test_every_answer_forbids_what_a_browser_might_do_with_it(server: ReportServer) -> None:
    """The page has its policy, and is in nobody's frame; no answer is cached, guessed at or shared."""
    for status, answer in (_ask(server), _ask(server, "/"), _ask(server, method="POST"), _ask(server, Host="evil")):
        for line in (
            b"X-Content-Type-Options: nosniff", b"Referrer-Policy: no-referrer", b"Cache-Control: no-store",
            b"X-Frame-Options: DENY", b"Cross-Origin-Resource-Policy: same-origin", b"frame-ancestors 'none'",
            b"default-src 'none'", b"Connection: close", b"Server: lee-llm-router\r\n",
        ):  # fmt: skip
            assert line in answer, (status, line)
        assert b"Access-Control" not in answer


@pytest.mark.parametrize(
    "request_text",
    [
        b"\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 70_000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost", b"",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /?token=<script> HTTP/x\r\n\r\n", b"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_request_harms_nothing(
    server: ReportServer, request_text: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """It gets an error that quotes nothing, or nothing; nothing is printed, and the next request is answered."""
    answer = _raw(server, request_text)
    assert SECRET not in answer
    assert b"<" not in answer
    assert _ask(server)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_client_that_sends_or_reads_nothing_is_let_go(server: ReportServer, clock: FakeClock) -> None:
    """After half a minute, also if a byte comes now and then."""
    with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=30)) as silent:
        silent.sendall(b"GET / HT")
        assert _ask(server)[0] == 200
        clock.advance(31)
        assert _rest(silent) == b""


def test_a_page_that_takes_long_to_make_is_sent(
    server: ReportServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half minute is for the client alone: a long history may take longer to read."""

    def slow() -> bytes:
        clock.advance(100)
        server.service_actions()
        return b"the page"

    monkeypatch.setattr(server.feed, "page", slow)
    status, answer = _ask(server)
    assert (status, answer.endswith(b"the page")) == (200, True)


def test_many_silent_clients_keep_nobody_out(server: ReportServer) -> None:
    """Beyond a number of connections the oldest ends."""
    silent = [socket.create_connection(("127.0.0.1", server.server_port), timeout=30) for _ in range(100)]
    try:
        for one in silent:
            with suppress(OSError):
                one.sendall(b"GET")
        assert _ask(server)[0] == 200
        assert _rest(silent[0]) == b""
        assert threading.active_count() < 80
    finally:
        for one in silent:
            one.close()


def test_a_client_that_leaves_is_no_error(server: ReportServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=30)) as leaving:
            leaving.sendall(f"GET /?token={server.token} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert _ask(server)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_the_address_for_a_browser_holds_once(server: ReportServer) -> None:
    """It leads to the page; who reads the command line of the browser comes too late."""
    key = server.single_use_url().partition("/?")[2]
    status, answer = _ask(server, f"/?{key}", method="HEAD")
    assert (status, f"Location: /?token={server.token}\r\n".encode() in answer) == (303, True)
    assert _ask(server, f"/?{key}")[0] == 403
    assert server.token not in key


def test_traces_that_cannot_be_read_are_an_answer(server: ReportServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("no such folder: secret")

    monkeypatch.setattr(server.feed, "page", broken)
    status, answer = _ask(server)
    assert (status, b"secret" in answer) == (500, False)


def test_it_listens_on_this_machine_alone(server: ReportServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error(server: ReportServer) -> None:
    with pytest.raises(OSError, match="in use"):
        ReportServer(server.feed, server.server_port)
