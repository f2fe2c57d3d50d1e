"""What hedging does to slow answers, over HTTP: every 50th answer of the server takes 20 times as long.

Run it with ``python benchmarks/hedging.py``; it takes 90 seconds. In each form of a call it exits 1 unless the 99th
percentile of the time to an answer falls by at least 5 times, at no more than 4% more requests, and unless the server
sees all connections closed that were not waited for.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from lee_llm_router import LeeLLMRouter

CALLS = 500
AT_ONCE = 16
USUAL = 0.15
"""Seconds before the server answers."""
SLOW = 20 * USUAL
EVERY = 50
"""One of so many answers is slow: 2%."""
AFTER = 0.3
LEAST_GAIN = 5.0
MOST_ADDED = 0.04

ANSWER = {
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
}
PIECES = (
    {"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "who"}, "finish_reason": None}]},
    {"model": "m", "choices": [{"index": 0, "delta": {"content": "le"}, "finish_reason": "stop"}]},
)


@dataclass
class ChatServer:
    """Answers chat completions, whole or streamed, and counts requests and answers that nobody waited for."""

    counts: dict[str, int] = field(default_factory=lambda: {"requests": 0, "left": 0})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                if b"GET /counts" in head:
                    writer.write(self._whole(self.counts))
                    continue
                self.counts["requests"] += 1
                seconds = USUAL if self.counts["requests"] % EVERY else SLOW
                if not await self._still_wanted(reader, seconds):
                    self.counts["left"] += 1
                    break
                writer.write(self._streamed() if json.loads(body).get("stream") else self._whole(ANSWER))
        writer.close()

    @staticmethod
    async def _still_wanted(reader: asyncio.StreamReader, seconds: float) -> bool:
        """Let `seconds` pass; return False as soon as the client has hung up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return bool(await reader.read(1))
        return True

    @staticmethod
    def _whole(value: Any) -> bytes:
        body = json.dumps(value).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    @staticmethod
    def _streamed() -> bytes:
        body = b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in PIECES) + b"data: [DONE]\n\n"
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve() -> None:
    listening = await asyncio.start_server(ChatServer().serve, "127.0.0.1", 0, backlog=1024)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def serving() -> Iterator[int]:
    """Run a server in a process of its own; yield its port."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.stdin.close()
            child.kill()


async def counts_of(port: int) -> dict[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /counts HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    found: dict[str, int] = json.loads(
        await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r")[0]))
    )
    writer.close()
    return found


def _complete(router: LeeLLMRouter) -> None:
    assert router.complete("r", "hi").text == "whole"


async def _complete_async(router: LeeLLMRouter) -> None:
    assert (await router.complete_async("r", "hi")).text == "whole"


def _stream(router: LeeLLMRouter) -> None:
    with router.stream("r", "hi") as stream:
        assert "".join(chunk.text for chunk in stream) == "whole"


async def _stream_async(router: LeeLLMRouter) -> None:
    async with router.stream_async("r", "hi") as stream:
        assert "".join([chunk.text async for chunk in stream]) == "whole"


def in_threads(call: Callable[[LeeLLMRouter], None], router: LeeLLMRouter) -> list[float]:
    """Return the seconds of each call."""

    def timed(_: int) -> float:
        began = perf_counter()
        call(router)
        return perf_counter() - began

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(timed, range(CALLS)))


def on_a_loop(call: Callable[[LeeLLMRouter], Any], router: LeeLLMRouter) -> list[float]:
    """As `in_threads`, on an event loop."""

    async def main() -> list[float]:
        free = asyncio.Semaphore(AT_ONCE)

        async def timed() -> float:
            async with free:
                began = perf_counter()
                await call(router)
                return perf_counter() - began

        times = await asyncio.gather(*(timed() for _ in range(CALLS)))
        await router.aclose()
        return times

    return asyncio.run(main())


FORMS: dict[str, Callable[[LeeLLMRouter], list[float]]] = {
    "complete": lambda router: in_threads(_complete, router),
    "complete_async": lambda router: on_a_loop(_complete_async, router),
    "stream": lambda router: in_threads(_stream, router),
    "stream_async": lambda router: on_a_loop(_stream_async, router),
}


def measured(form: str, hedge: dict[str, Any] | None) -> tuple[float, float, dict[str, int]]:
    """Return median and 99th percentile in seconds, and what the server counted."""
    with serving() as port:
        provider = {"type": "http", "base_url": f"http://127.0.0.1:{port}", "model": "m"}
        role = {"provider": "a", "fallback_providers": ["b"], "hedge": hedge}
        config = {"llm": {"providers": {"a": provider, "b": provider}, "roles": {"r": role}}}
        with LeeLLMRouter(config, trace_store=False) as router:
            times = sorted(FORMS[form](router))
            assert all(health.in_flight == 0 for health in router.health().values())
        counts = asyncio.run(counts_of(port))
    return times[CALLS // 2], times[int(CALLS * 0.99) - 1], counts


def main() -> int:
    missed = False
    for form in FORMS:
        usual, plain, _ = measured(form, None)
        print(f"{form:<15} {'plain':<14} median {usual:.3f} s, p99 {plain:.3f} s")
        for name, hedge in ((f"after {AFTER} s", {"after": AFTER}), ("after p97", {"after": "p97"})):
            median, hedged, counts = measured(form, hedge)
            added = counts["requests"] / CALLS - 1
            gain = plain / hedged
            is_met = gain >= LEAST_GAIN and added <= MOST_ADDED and counts["left"] >= added * CALLS - 1
            missed |= not is_met and "p" not in name
            print(
                f"{form:<15} {name:<14} median {median:.3f} s, p99 {hedged:.3f} s: {gain:.1f} times less, at"
                f" {added:.1%} more requests; {counts['left']} connections closed while their answers were due"
                f"{'' if is_met else '  MISSED'}"
            )
    return int(missed)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(_serve())
    else:
        sys.exit(main())
