"""Plays many routers against one vendor's limit, and writes what comes of it into docs/scale.md and docs/scale.png.

The routers are the real `Health`, joined to a real shared state in memory; only the vendor and the clock are made up
(`benchmarks/scaling/`). Chance is seeded: the same code gives the same figures.

    python docs/draw_scale.py            # plays all, three minutes; draws if matplotlib is installed
    python docs/draw_scale.py --quick    # plays a few small ones in seconds, and prints them only
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from scaling.play import BUSY, RPM, SETUPS, Outcome, play

PAGE = Path(__file__).with_name("scale.md")
PICTURE = PAGE.with_suffix(".png")
SIZES = (1, 3, 10, 30, 100, 300, 1000)
QUIET = 0.9
"""A load below the limit."""
_TABLE = re.compile(r"(<!-- figures -->\n).*(<!-- end of figures -->)", re.DOTALL)
_COLOURS = {"alone": "#b35900", "doors": "#8250df", "divided": "#6e6e6e", "leases": "#0969da"}
_PANELS = {
    "refused": "requests that the vendor refuses",
    "unused": "of the limit that nobody uses",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Play many routers against one vendor's limit.")
    parser.add_argument("--quick", action="store_true", help="play a few small ones, and print them only")
    if parser.parse_args(arguments).quick:
        few = [play(setup, size, rpm=120, minutes=2) for setup in SETUPS for size in (1, 10)]
        print(table(few, few, size=10))
        return 0
    busy = [_played(setup, size, BUSY) for setup in SETUPS for size in SIZES]
    quiet = [_played(setup, SIZES[-1], QUIET) for setup in SETUPS]
    figures = table(busy, quiet, size=SIZES[-1])
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_TABLE.sub(lambda found: f"{found[1]}\n{figures}\n\n{found[2]}", page), encoding="utf-8")
    draw(busy)
    return 0


def _played(setup: str, size: int, load: float) -> Outcome:
    outcome = play(setup, size, load=load)
    print(f"{load:g} times the limit: {outcome}", flush=True)
    return outcome


def table(busy: Sequence[Outcome], quiet: Sequence[Outcome], *, size: int) -> str:
    """Return the figures of all setups with `size` routers, as Markdown."""
    head = ["setup", *(f"{what}, {BUSY:g}" for what in ("refused", "unused", "no answer"))]
    head += [*(f"{what}, {QUIET:g}" for what in ("refused", "no answer")), f"exchanges a request, {BUSY:g}"]
    rows = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for setup, title in SETUPS.items():
        one, other = (next(o for o in found if (o.setup, o.routers) == (setup, size)) for found in (busy, quiet))
        cells = [one.refused, one.unused, one.unanswered, other.refused, other.unanswered]
        rows.append(f"| {title} | {' | '.join(f'{cell:.1%}' for cell in cells)} | {one.exchanges:.1f} |")
    return "\n".join(rows)


def draw(outcomes: Sequence[Outcome]) -> None:
    """Draw both shares over the number of routers; nothing is drawn where matplotlib is not installed."""
    try:
        matplotlib = import_module("matplotlib")
    except ImportError:
        print("matplotlib is not installed: no picture", file=sys.stderr)
        return
    matplotlib.use("Agg")
    plots: Any = import_module("matplotlib.pyplot")
    figure, panels = plots.subplots(1, len(_PANELS), figsize=(8.9, 3.4), facecolor="white")
    for axes, (field, title) in zip(panels, _PANELS.items(), strict=True):
        for setup, name in SETUPS.items():
            points = [(one.routers, 100 * getattr(one, field)) for one in outcomes if one.setup == setup]
            axes.plot(*zip(*points, strict=True), "o-", color=_COLOURS[setup], label=name, markersize=4, linewidth=1.4)
        axes.set_xscale("log")
        axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES], fontsize=8)
        axes.minorticks_off()
        axes.set_xlabel("routers", fontsize=9)
        axes.set_title(f"% {title}", fontsize=10)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].legend(fontsize=8, frameon=False)
    figure.suptitle(f"One vendor's limit of {RPM:,} requests a minute, {BUSY:g} times as many wanted", fontsize=10)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main())
