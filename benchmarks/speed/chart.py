"""The chart: what a call costs, one at a time, with 64 at once and with 1,000, as dots beside each other.

Dots, not bars: a logarithmic axis has no zero a bar could stand on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from speed.catalog import CALLS
from speed.samples import Samples

_PANELS = {"async-1": "one call at a time", "async-64": "64 calls at once", "async-1000": "1,000 calls at once"}
_OURS = {"ours": "#1f5fbf", "ours-fast": "#1a80e5"}
_OTHER = "#6e6e6e"
_LINE = "#dddddd"
_WIDTH, _ROW, _AROUND = 8.9, 0.27, 0.9
"""Inches: as wide as the page shows it, a row, and what stands above and below the rows."""
_ROOM = 6.0
"""How far the axis goes on past the dearest dot, as a factor: room for its number."""


@dataclass(frozen=True, slots=True)
class Row:
    """A client, and what its call costs in each panel; None where it was not measured."""

    name: str
    title: str
    costs: Sequence[float | None]


def rows(samples: Samples) -> list[Row]:
    """The clients measured one call at a time, the cheapest first."""
    found = []
    for subject in CALLS:
        spreads = [samples.spread((subject.name, case)) for case in _PANELS]
        if spreads[0] is not None:
            costs = [None if spread is None else spread.middle for spread in spreads]
            found.append((spreads[0].middle, Row(subject.name, subject.title.replace("*", ""), costs)))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def draw(samples: Samples, path: Path) -> None:
    """Draw what was measured; nothing is drawn where matplotlib is not installed."""
    shown = rows(samples)
    try:
        matplotlib = import_module("matplotlib")
    except ImportError:
        return
    matplotlib.use("Agg")
    plots = import_module("matplotlib.pyplot")
    size = (_WIDTH, _AROUND + _ROW * len(shown))
    figure, panels = plots.subplots(1, len(_PANELS), figsize=size, sharex=True, sharey=True, facecolor="white")
    for place, (axes, title) in enumerate(zip(panels, _PANELS.values(), strict=True)):
        _dots(axes, shown, place)
        axes.set_title(title, fontsize=10)
    _frame(panels, shown)
    figure.supxlabel("CPU microseconds per call (logarithmic; further left is cheaper)", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=180, metadata={"Software": None})
    plots.close(figure)


def _dots(axes: Any, shown: Sequence[Row], place: int) -> None:
    """One dot a row, its number to the right of it: nothing else stands in that row."""
    for height, row in enumerate(shown):
        cost = row.costs[place]
        if cost is None:
            continue
        color = _OURS.get(row.name, _OTHER)
        weight = "bold" if row.name in _OURS else "normal"
        axes.plot(cost, height, marker="o", markersize=6, color=color, zorder=3)
        axes.annotate(
            f"{cost:,.0f}", (cost, height), xytext=(6, 0), textcoords="offset points", fontsize=9, va="center",
            color=color, weight=weight, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def _frame(panels: Sequence[Any], shown: Sequence[Row]) -> None:
    """The axis, the same in all panels, and the names, to the left of the first."""
    costs = [cost for row in shown for cost in row.costs if cost is not None]
    first = panels[0]
    first.set_xscale("log")
    first.set_xlim(min(costs, default=1) / 1.5, max(costs, default=10) * _ROOM)
    ticks = [tick for tick in (10, 100, 1_000, 10_000, 100_000) if first.get_xlim()[0] <= tick <= first.get_xlim()[1]]
    first.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    first.set_ylim(len(shown) - 0.5, -0.5)
    first.set_yticks(range(len(shown)), [row.title for row in shown])
    for label, row in zip(first.get_yticklabels(), shown, strict=True):
        label.set(color=_OURS.get(row.name, "black"), weight="bold" if row.name in _OURS else "normal")
    for axes in panels:
        axes.minorticks_off()
        axes.grid(color=_LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
