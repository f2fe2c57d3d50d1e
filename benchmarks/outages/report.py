"""The table of the results, and the bars that this router is held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from outages.libraries import DEFAULTS, OURS, ROUTER
from outages.play import Result
from outages.scenes import ALONE, BUSY, DEAD_KEY, FLAP, IMPATIENCE, RESTART, SHAKY, Play

SHARES = {
    (RESTART, ROUTER): 1.0,
    (RESTART, DEFAULTS): 1.0,
    (FLAP, ROUTER): 1.0,
    (SHAKY, ROUTER): 0.998,
    (SHAKY, DEFAULTS): 0.98,
    (BUSY, DEFAULTS): 1.0,
    (DEAD_KEY, DEFAULTS): 1.0,
}
"""The least share of the calls that must be answered. With a fallback it is all of them."""
LONGER_P50, LONGER_P99 = 0.05, 1.6
"""Seconds that calls with a fallback may take longer than in the same run without an outage: at the median a refused
attempt; at the 99th percentile the two backoffs, of 0.5 and 1 s at most, after failures of a server that is there."""
PROBES_A_COOLDOWN = 1
REQUESTS_WITH_DEAD_KEY = 5
AT_ONCE = 0.1
"""Seconds that a call may take to be refused."""

Results = Mapping[Play, Result]

HEADINGS = ("scene", "library", "way", "answered", "lost", "p50 ms", "p99 ms", "wall s", "requests", "bars")
WIDTHS = (20, 18, 5, 11, 5, 6, 7, 7, 8, 0)


def heading() -> str:
    """Return the first lines of the table."""
    return f"{_line(HEADINGS)}\n{'-' * 110}"


def row(play: Play, results: Results) -> str:
    """Return the line of one play, and below it a line for each reason of a loss."""
    result = results[play]
    cells = [play.scene.title, play.library, play.way]
    if result.stopped:
        return f"{_line([*cells, 'none'])}  {result.stopped}"
    cells += [
        f"{result.answered}/{play.scene.calls}",
        str(result.lost),
        f"{result.quantile(0.5) * 1000:.0f}",
        f"{result.quantile(0.99) * 1000:.0f}",
        f"{result.wall:.1f}",
        str(result.requests),
    ]
    missed = list(missed_bars(play, results))
    held = "ok" if has_bars(play) else ""
    more = f" probes a cool-down: {result.probes}" if play.scene.name == BUSY and play.library in OURS else ""
    if result.refused_in is not None:
        more += f" refused in {result.refused_in * 1000:.1f} ms"
    lines = [_line([*cells, ("MISSED: " + "; ".join(missed) if missed else held) + more])]
    lines += [f"{'':8}{count:4} x {why}" for why, count in list(result.losses.items())[:6]]
    return "\n".join(lines)


def has_bars(play: Play) -> bool:
    """Whether this router is held to something in this play."""
    if play.library not in OURS or play.scene.name == ALONE:
        return False
    return play.scene.spare or play.scene.name == IMPATIENCE or (play.scene.name, play.library) in SHARES


def missed_bars(play: Play, results: Results) -> Iterator[str]:
    """Yield a sentence for each bar that was missed in this play."""
    result, scene = results[play], play.scene
    if not has_bars(play):
        return
    if result.stopped:
        yield result.stopped
        return
    if result.without_reason:
        yield f"{result.without_reason} losses do not name their reason"
    if scene.name == IMPATIENCE:
        if result.refused_in is None or result.refused_in > AT_ONCE:
            yield "not UNAVAILABLE at once"
        return
    least = 1.0 if scene.spare else SHARES[scene.name, play.library]
    if result.answered < least * scene.calls:
        yield f"fewer than {least:.1%} answered"
    if scene.name == BUSY and (not result.probes or max(result.probes) > PROBES_A_COOLDOWN):
        yield f"not at most {PROBES_A_COOLDOWN} request a cool-down"
    if scene.name == DEAD_KEY and result.requests > REQUESTS_WITH_DEAD_KEY:
        yield f"more than {REQUESTS_WITH_DEAD_KEY} requests with the dead key"
    if scene.spare and scene.name != DEAD_KEY and play.library == DEFAULTS:
        yield from _slower(play, results)


def _slower(play: Play, results: Results) -> Iterator[str]:
    """Compare a play with the one of the same library and way without an outage."""
    result = results[play]
    for other, alone in results.items():
        if (other.scene.name, other.library, other.way) != (ALONE, play.library, play.way):
            continue
        for share, most in ((0.5, LONGER_P50), (0.99, LONGER_P99)):
            longer = result.quantile(share) - alone.quantile(share)
            if longer > most:
                yield f"p{share * 100:.0f} is {longer:.2f} s longer than without an outage (at most {most} s)"


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=False)).rstrip()
