"""Does a call end by its deadline, whatever hangs? Prints seconds of wall time; exits 1 outside 2.0 to 2.2.

Run it with ``python benchmarks/deadline.py``. Three targets accept a connection and never say a word; a fourth one is a
child process that hangs and ignores SIGTERM.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lee_llm_router import LeeLLMRouter, LLMTimeoutError

DEADLINE = 2.0
LATEST = 2.2

HANGING_CODEX = """#!/bin/sh
trap '' TERM INT HUP
case "$*" in *--help*) exit 0 ;; esac
while :; do sleep 1; done
"""


def timed(call: Callable[[], Any]) -> float:
    """Seconds until `call` has ended with a timeout."""
    began = time.perf_counter()
    try:
        call()
    except LLMTimeoutError:
        return time.perf_counter() - began
    raise AssertionError("it answered")


def main() -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        codex = folder / "codex"
        codex.write_text(HANGING_CODEX)
        codex.chmod(0o755)
        (folder / "home").mkdir()
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        providers: dict[str, Any] = {
            f"silent{i}": {"type": "http", "base_url": f"http://127.0.0.1:{s.getsockname()[1]}"}
            for i, s in enumerate(silent)
        }
        providers["child"] = {"type": "codex_cli", "command": str(codex), "base_url": "http://127.0.0.1:1"}
        common = {"model": "m", "deadline": DEADLINE}
        roles = {
            "chain": {"provider": "silent0", "timeout": 0.9, "fallback_providers": ["silent1", "silent2"], **common},
            "child": {"provider": "child", "timeout": 60, **common},
        }
        router = stack.enter_context(
            LeeLLMRouter({"llm": {"default_role": "chain", "providers": providers, "roles": roles}}, trace_store=False)
        )

        async def read(role: str) -> None:
            async for _ in router.stream_async(role, "hi"):
                pass

        late = False
        for role in roles:
            ways: dict[str, Callable[[], Any]] = {
                "sync": lambda role=role: router.complete(role, "hi"),  # type: ignore[misc]
                "async": lambda role=role: asyncio.run(router.complete_async(role, "hi")),  # type: ignore[misc]
                "stream": lambda role=role: list(router.stream(role, "hi")),  # type: ignore[misc]
                "stream_async": lambda role=role: asyncio.run(read(role)),  # type: ignore[misc]
            }
            for way, call in ways.items():
                took = timed(call)
                late = late or not DEADLINE <= took <= LATEST
                print(f"{role:6} {way:13} {took:.3f} s", flush=True)
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
