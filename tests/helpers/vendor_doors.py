"""Doors to a vendor's batch API without a server: what comes is given by the test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from helpers.support import FakeClock
from lee_llm_router.batch.vendor.door import Door
from lee_llm_router.providers.http.dialects.base import HTTPReply


def job_in(folder: Path, *, give_up_after: float = 100.0) -> Any:
    """What a batch is to those who ask a vendor; `stop` on it tells it to end."""
    found = SimpleNamespace(
        clock=FakeClock(), settings=SimpleNamespace(out=folder / "out.jsonl", give_up_after=give_up_after),
        figures=SimpleNamespace(waiting_for=None, waiting_seconds=0.0), is_over=False,
    )  # fmt: skip

    async def stopping() -> None:
        await asyncio.Event().wait()

    found.is_stopped = lambda: found.is_over
    found.stopping = stopping
    return found


class Stream:
    """An answer that comes in blocks."""

    def __init__(self, *blocks: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.blocks, self.status, self.raw_headers = list(blocks), status, headers
        self.is_closed = False

    def allow(self, seconds: float) -> None:
        pass

    async def read(self) -> bytes:
        return self.blocks.pop(0) if self.blocks else b""

    def close(self) -> None:
        self.is_closed = True


def door_to(folder: Path, *streams: Stream, job: Any = None) -> Door:
    left = list(streams)

    async def open_other(*_: object) -> Stream:
        return left.pop(0)

    provider: Any = SimpleNamespace(
        name="p", open_other=open_other, secrets=lambda: ("sk-secret",),
        reply_of=lambda stream, body: HTTPReply(stream.status, body, stream.raw_headers),
    )  # fmt: skip
    return Door(provider, job or job_in(folder))
