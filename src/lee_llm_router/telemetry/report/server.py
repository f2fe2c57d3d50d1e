"""Serves the live page on this machine only, to those who know its token, and not to pages of other sites.

How this works. Every program on a machine, and every page in a browser on it, can reach a port on 127.0.0.1. So each
request must name this host (another name that somebody points here is rejected: DNS rebinding), must not come from a
page of another origin, and must include the token, which is compared in constant time. The token is not a cookie:
browsers send cookies of 127.0.0.1 to every port. Nothing can be changed: there are two resources to read, by GET or
HEAD.

A connection serves one request. A client has a limited number of seconds to send it and to receive the response; if
there are too many connections, the oldest is closed. So clients that hang, even many of them, do not block others for
long.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
import socketserver
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.telemetry.report.feed import CallFeed
from lee_llm_router.telemetry.report.page import content_policy

ADDRESS = "127.0.0.1"
TOKEN_HEADER = "X-Report-Token"  # noqa: S105 - the name of a header
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.IGNORECASE)
"""Any port: it may be forwarded from another machine."""
_SECONDS = 30.0
"""The longest life of a connection."""
_MOST_CONNECTIONS = 32
_REFRESH_EVERY = 1.0
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Connection": "close",
}


class ReportServer(ThreadingHTTPServer):
    """Serves requests for one `CallFeed`, once `serve_forever` runs.

    Args:
        feed: What to show.
        port: 0 picks a free one.
        clock: Measures the age of connections.

    Raises:
        OSError: the port cannot be used.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    # We must not take over another program's port, nor another program ours; but a port just released may be reused.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, feed: CallFeed, port: int = 0, clock: Clock = SYSTEM_CLOCK) -> None:
        self.feed = feed
        self.token = secrets.token_urlsafe(32)
        self._single_use: str | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._connections: OrderedDict[socket.socket, float] = OrderedDict()
        """When each one must be closed."""
        self._refreshed_at = clock.monotonic()
        self._refreshing = threading.Lock()
        super().__init__((ADDRESS, port), _Handler)

    @property
    def url(self) -> str:
        """The URL of the page, with the token."""
        return f"http://{ADDRESS}:{self.server_port}/?token={self.token}"

    def single_use_url(self) -> str:
        """Return a URL that opens the page once.

        It is for starting a browser: other users of this machine can see the command lines of programs.
        """
        self._single_use = secrets.token_urlsafe(32)
        return f"http://{ADDRESS}:{self.server_port}/?once={self._single_use}"

    def take_single_use(self, given: str) -> bool:
        """Return whether `given` is the key of `single_use_url`, which is valid once."""
        with self._lock:
            key = self._single_use
            if key is None or not _is_same(given, key):
                return False
            self._single_use = None
            return True

    def server_bind(self) -> None:
        """Bind without resolving the name of this host, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def service_actions(self) -> None:
        """Close connections that are too old, and take in new calls. `serve_forever` calls it several times a
        second."""
        now = self._clock.monotonic()
        with self._lock:
            old = [one for one, until in self._connections.items() if now > until]
        for connection in old:
            _shut(connection)
        if now - self._refreshed_at >= _REFRESH_EVERY and self._refreshing.acquire(blocking=False):
            self._refreshed_at = now
            try:
                threading.Thread(target=self._refresh, name="lee-llm-router-report", daemon=True).start()
            except RuntimeError:  # no more threads can start now
                self._refreshing.release()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; if there are too many, the oldest is closed."""
        with self._lock:
            self._connections[request] = self._clock.monotonic() + _SECONDS
            oldest = next(iter(self._connections)) if len(self._connections) > _MOST_CONNECTIONS else None
            if oldest is not None:
                del self._connections[oldest]
        if oldest is not None:
            _shut(oldest)
        super().process_request(request, client_address)

    def extend(self, request: socket.socket, seconds: float = _SECONDS) -> None:
        """Let a connection stay open for `seconds` from now."""
        with self._lock:
            if request in self._connections:
                self._connections[request] = self._clock.monotonic() + seconds

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client that disconnects early does not concern the user."""

    def _refresh(self) -> None:
        try:
            with suppress(Exception):  # a store that cannot be read now may be readable in a second
                self.feed.refresh()
        finally:
            self._refreshing.release()


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    timeout = _SECONDS

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command in ("GET", "HEAD"):
            return True
        self._answer(405, "This page is read-only.\n", {"Allow": "GET, HEAD"})
        return False

    def do_GET(self) -> None:
        self.close_connection = True
        refused = self._refusal()
        if refused is not None:
            self._answer(*refused)
            return
        parts = urlsplit(self.path)
        given = _query(parts.query)
        if parts.path == "/" and self.server.take_single_use(given.get("once", "")):
            self._answer(303, "", {"Location": f"/?token={self.server.token}"})
        elif not _is_same(self.headers.get(TOKEN_HEADER) or given.get("token", ""), self.server.token):
            self._answer(403, "Open the address that `lee-llm-router trace serve` has printed: it ends in a token.\n")
        elif parts.path == "/":
            self._answer_with_page()
        elif parts.path == "/calls":
            self._answer_with_changes(given.get("since", ""))
        else:
            self._answer(404, "There is no such page.\n")

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Respond to a request that could not be parsed, without quoting it."""
        self._answer(code, "The request cannot be understood.\n")

    def version_string(self) -> str:
        return "lee-llm-router"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the URL contains the token."""

    def _refusal(self) -> tuple[int, str] | None:
        """Return how to refuse a request that comes neither from the page itself nor from the user."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]) or not self.path.startswith("/"):
            return 421, "This page answers only to 127.0.0.1 and localhost.\n"
        origins = self.headers.get_all("Origin") or []
        sites = self.headers.get_all("Sec-Fetch-Site") or []
        is_own = all(origin == f"http://{hosts[0]}" for origin in origins)
        if not is_own or any(site not in ("same-origin", "none") for site in sites):
            return 403, "Pages of other sites cannot read this one.\n"
        return None

    def _answer_with_page(self) -> None:
        # Reading a long history for few calls takes time; that is not the client's fault.
        self.server.extend(self.connection, inf)
        try:
            page = self.server.feed.page()
        except Exception:  # noqa: BLE001 - a store may raise anything
            self._answer(500, "The traces cannot be read now.\n")
            return
        finally:
            self.server.extend(self.connection)
        policy = f"{content_policy(is_live=True)}; frame-ancestors 'none'"
        self._answer(200, page, {"Content-Security-Policy": policy}, "text/html; charset=utf-8")

    def _answer_with_changes(self, since: str) -> None:
        if not re.fullmatch(r"[0-9]{1,15}", since):
            self._answer(400, "since is a number.\n")
            return
        self._answer(200, self.server.feed.changes(int(since)), {}, "application/json")

    def _answer(
        self, status: int, body: str | bytes, headers: Mapping[str, str] | None = None, kind: str = "text/plain"
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.close_connection = True
        self.send_response(status)
        given = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", **(headers or {})}
        sizes = {"Content-Type": kind, "Content-Length": str(len(data))}
        for name, value in {**_HEADERS, **given, **sizes}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _query(text: str) -> dict[str, str]:
    """Return the parameters of a URL that occur once."""
    try:
        found = parse_qs(text, max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _is_same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


def _shut(connection: socket.socket) -> None:
    """Close a connection on which another thread may be waiting."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
