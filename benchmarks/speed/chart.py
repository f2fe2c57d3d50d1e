"""The chart: what a call costs, for one call at a time and for 64, and how the cost grows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from speed.catalog import CALLS
from speed.samples import Samples

_AT_ONCE = {"async-1": 1, "async-64": 64, "async-1000": 1000}
_OURS = {"ours": "#1f5fbf", "ours-fast": "#3fa0ff"}
_OTHER = "#b8b8b8"


def draw(samples: Samples, path: Path) -> None:
    """Draw what was measured; nothing is drawn where matplotlib is not installed."""
    try:
        matplotlib = import_module("matplotlib")
    except ImportError:
        return
    matplotlib.use("Agg")
    plots = import_module("matplotlib.pyplot")
    figure, (left, right) = plots.subplots(1, 2, figsize=(11, 4.4), width_ratios=(3, 2))
    _bars(left, samples)
    _growth(right, samples)
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plots.close(figure)


def _bars(axes: Any, samples: Samples) -> None:
    found = [(subject, samples.spread((subject.name, "async-1")), samples.spread((subject.name, "async-64")))
             for subject in CALLS]  # fmt: skip
    shown = [(subject, one.middle, many.middle) for subject, one, many in found if one and many]
    for place, (subject, one, many) in enumerate(reversed(shown)):
        color = _OURS.get(subject.name, _OTHER)
        axes.barh(place + 0.2, one, height=0.38, color=color)
        axes.barh(place - 0.2, many, height=0.38, color=color, alpha=0.55)
        for at, value in ((0.2, one), (-0.2, many)):
            axes.text(value * 1.05, place + at, f"{value:,.0f}", va="center", fontsize=7)
    axes.set_yticks(range(len(shown)), [_plain(subject.title) for subject, *_ in reversed(shown)], fontsize=8)
    axes.set_xscale("log")
    axes.set_title("CPU us per call: one at a time (dark), 64 at once (light)", fontsize=9)
    _tidy(axes)


def _growth(axes: Any, samples: Samples) -> None:
    for subject in CALLS:
        found = {count: samples.spread((subject.name, case)) for case, count in _AT_ONCE.items()}
        points = [(count, spread.middle) for count, spread in found.items() if spread]
        if len(points) < len(_AT_ONCE):
            continue
        is_ours = subject.name in _OURS
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=_OURS.get(subject.name, _OTHER),
                  linewidth=2 if is_ours else 1, zorder=3 if is_ours else 2)  # fmt: skip
        axes.annotate(_plain(subject.title), points[-1], xytext=(4, 0), textcoords="offset points", fontsize=6,
                      va="center")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.8, 30_000)
    axes.set_xticks(list(_AT_ONCE.values()), [f"{count:,}" for count in _AT_ONCE.values()])
    axes.set_title("CPU us per call, by calls at once", fontsize=9)
    _tidy(axes)


def _tidy(axes: Any) -> None:
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(title: str) -> str:
    return title.replace("*", "")
