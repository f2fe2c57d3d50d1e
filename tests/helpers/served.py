"""HTTP servers of the standard library, served by a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import HTTPServer
from typing import TypeVar

ServerT = TypeVar("ServerT", bound=HTTPServer)


def served(running: ServerT) -> Iterator[ServerT]:
    """Yield a server that answers, and end it afterwards: the rest of a fixture."""
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()
