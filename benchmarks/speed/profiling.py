"""Where the time of a call goes: its dearest functions, by cProfile."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed.catalog import SUBJECTS
from speed.subject import Made

CALLS = 2000
TOP = 10
TARGETS = {
    "ours-async": ("ours", "async-1"), "ours-sync": ("ours", "sync"), "ours-chunk": ("ours", "chunk"),
    "fast-async": ("ours-fast", "async-1"), "fast-sync": ("ours-fast", "sync"), "fast-chunk": ("ours-fast", "chunk"),
    "alone-async": ("alone", "async-1"), "alone-sync": ("alone", "sync"),
    "overrides-async": ("overrides", "async-1"), "overrides-sync": ("overrides", "sync"),
    "untraced-async": ("alone-untraced", "async-1"), "untraced-sync": ("alone-untraced", "sync"),
    "httpx-async": ("httpx", "async-1"), "httpx-sync": ("httpx", "sync"), "httpx-chunk": ("httpx", "chunk"),
}  # fmt: skip


def profile(url: str, target: str) -> str:
    """A table of the functions in which most time is spent itself, per call (per streamed answer for chunks)."""
    name, case = TARGETS[target]
    calls = 5 if case == "chunk" else CALLS
    profiler = cProfile.Profile()
    if case == "sync":
        made = SUBJECTS[name].make(url, case)
        assert made.ask_sync is not None
        _repeat(made.ask_sync, 50)
        profiler.runcall(_repeat, made.ask_sync, calls)
    else:
        with asyncio.Runner() as runner:
            made = runner.run(_profiled(url, name, case, calls, profiler))
    made.closing.close()
    return _dearest(profiler, calls)


async def _profiled(url: str, name: str, case: str, calls: int, profiler: cProfile.Profile) -> Made:
    made = SUBJECTS[name].make(url, case)
    ask: Callable[[], Any] | None = made.stream if case == "chunk" else made.ask
    assert ask is not None
    for _ in range(2):
        await ask()
    profiler.enable()
    for _ in range(calls):
        await ask()
    profiler.disable()
    return made


def _repeat(ask: Callable[[], str], calls: int) -> None:
    for _ in range(calls):
        ask()


def _dearest(profiler: cProfile.Profile, calls: int) -> str:
    found: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in found.values())
    rows = sorted(found.items(), key=lambda item: -item[1][2])[:TOP]
    lines = [
        f"{total / calls * 1e6:.0f} us per call under the profiler",
        "",
        "| us | calls | with callees | function |",
    ]
    lines.append("| ---: | ---: | ---: | --- |")
    for (file, line, function), (_, count, own, whole, _) in rows:
        place = f"{function}" if file == "~" else f"{Path(file).parent.name}/{Path(file).name}:{line} {function}"
        lines.append(f"| {own / calls * 1e6:.1f} | {count / calls:.2f} | {whole / calls * 1e6:.1f} | {place} |")
    return "\n".join(lines)
