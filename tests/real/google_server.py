"""A proxy on loopback that answers for Google's hosts: logins, accounts, and the service behind a Google login."""

from __future__ import annotations

import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

NEW_TOKEN = "ya29.renewed-token-0123456789"
PLAN_LIMIT = "You have exhausted your capacity on this model. Your quota will reset after 14h59m59s."


@dataclass
class Google:
    """What it does, and what it was asked."""

    address: str
    certificate: Path
    refuses_refresh: bool = False
    at_limit: bool = False
    seen: list[str] = field(default_factory=list)
    """Paths, in order."""
    tokens: list[str] = field(default_factory=list)
    """The access tokens that requests came with."""

    def reply(self, path: str) -> tuple[int, Any]:
        """Return status and body for a request that is not for an answer."""
        if path.startswith("/token?") or path == "/token":
            if self.refuses_refresh:
                return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
            return 200, {"access_token": NEW_TOKEN, "expires_in": 3599, "token_type": "Bearer", "scope": "s"}
        if "loadCodeAssist" in path:
            tier = {"id": "free-tier", "name": "free", "isDefault": True}
            return 200, {"currentTier": tier, "allowedTiers": [tier], "cloudaicompanionProject": "project-1"}
        if "userinfo" in path:
            return 200, {"email": "me@example.org"}
        return 200, {"aud": "x", "scope": "a", "expires_in": 3000}


class _Secret(BaseHTTPRequestHandler):
    """What is said within a tunnel."""

    protocol_version = "HTTP/1.1"
    google: Google

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _take(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.google.seen.append(self.path.partition("?")[0])
        self.google.tokens.append((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if "streamGenerateContent" not in self.path:
            self._send(*self.google.reply(self.path))
        elif self.google.at_limit:
            self._send(429, {"error": {"code": 429, "message": PLAN_LIMIT, "status": "RESOURCE_EXHAUSTED"}})
        else:
            self._answer()

    do_GET = do_POST = _take

    def _send(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
        candidate = {"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}
        found = {"candidates": [candidate], "modelVersion": "served-by-login", "usageMetadata": usage}
        self.wfile.write(f"data: {json.dumps({'response': found})}\n\n".encode())
        self.close_connection = True


@contextmanager
def serve_google(folder: Path) -> Iterator[Google]:
    """Run the proxy; what it needs is put into `folder`."""
    certificate, key = folder / "google.pem", folder / "google.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=DNS:*.googleapis.com", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Tunnel(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            # A client may hang up at any moment.
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as secret:
                type("Handler", (_Secret,), {"google": google})(secret, self.client_address, self.server)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Tunnel) as server:
        google = Google(f"http://127.0.0.1:{server.server_address[1]}", certificate)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield google
        finally:
            server.shutdown()
            thread.join()
