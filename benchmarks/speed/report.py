"""Results as text: the tables that are printed and those that go into the document."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from speed.bars import BARS, Bar
from speed.catalog import SUBJECTS
from speed.samples import Samples, Spread


def number(value: float) -> str:
    """Three digits that count, thousands separated."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown that reads well as plain text; columns after the first are aligned right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = (
        [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (lines[0], rule, *lines[1:])
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def bars_table(samples: Samples) -> str:
    """Every bar that was measured, against its limit."""
    rows = []
    for bar in BARS:
        found = bar.measured(samples)
        if found is not None:
            rows.append([bar.text, _limit(bar), number(found.middle), _range(found), _verdict(bar, found)])
    return table(["what", "bar", "measured", "quartiles", ""], rows)


def missed(samples: Samples) -> list[Bar]:
    """The bars that were measured and do not hold."""
    found = ((bar, bar.measured(samples)) for bar in BARS)
    return [bar for bar, measured in found if measured is not None and not bar.holds(measured)]


def unmeasured(samples: Samples) -> list[Bar]:
    """The bars nothing is known of."""
    return [bar for bar in BARS if bar.measured(samples) is None]


def machine() -> str:
    """What all was measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"Machine: {cores} cores, Python {platform.python_version()}."


def versions() -> str:
    """Whatever was measured, with its version."""
    names = dict.fromkeys(name for subject in SUBJECTS.values() for name in subject.distributions)
    found = [f"{name} {version(name)}" for name in names if _is_there(name)]
    return f"Versions: {', '.join(found)}."


def _is_there(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def raw_table(samples: Samples) -> str:
    """All that was measured, with its spread; ratios are to the reference."""
    rows = []
    for key in samples.measured():
        found, wall = samples.spread(key), samples.wall(key)
        assert found is not None and wall is not None
        over = samples.ratio(key, ("httpx", "async-1"))
        is_cost = wall.middle > 0
        rows.append([
            f"{key[0]} {key[1]}", number(found.middle), _range(found), number(wall.middle) if is_cost else "",
            f"{over.middle:.3f}" if over is not None and is_cost else "",
        ])  # fmt: skip
    return table(
        ["measured (CPU us; start: ms, memory: MB)", "median", "quartiles", "wall us", "to one httpx call"], rows
    )


def _limit(bar: Bar) -> str:
    return f"{bar.sense} {bar.limit:,g}{' ' + bar.unit if bar.unit else ''}"


def _range(found: Spread) -> str:
    return f"{number(found.low)} .. {number(found.high)}"


def _verdict(bar: Bar, found: Spread) -> str:
    return "ok" if bar.holds(found) else "MISSED"
