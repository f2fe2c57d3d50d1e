"""The command: what to measure, and what to do with the results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from time import monotonic

from speed import children, decisions, document, programs, report, stores
from speed.catalog import SUBJECTS
from speed.phases import PHASES
from speed.profiling import TARGETS, profile
from speed.rounds import QUICK_ROUNDS, Bench

OTHERS = ("memory", "programs", "stores", "decisions")
ROUNDS = 11
"""Of what is not a phase."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if a bar is missed, or could not be measured in a whole run."""
    asked = _parser().parse_args(arguments)
    if asked.profile:
        with children.server() as url:
            print(profile(url, asked.profile))
        return 0
    began = monotonic()
    bench = _measured(asked)
    samples = bench.samples
    whole = not (asked.only or asked.phase)
    if not whole or asked.verbose:
        print(report.raw_table(samples), end="\n\n")
    print(report.versions())
    print(report.bars_table(samples))
    missing = report.unmeasured(samples) if whole else []
    for bar in missing:
        print(f"not measured: {bar.text}", file=sys.stderr)
    print(f"took {monotonic() - began:.0f} s")
    if whole and not asked.quick:
        document.write(samples)
    return int(bool(missing or report.missed(samples)))


def _measured(asked: argparse.Namespace) -> Bench:
    wanted = asked.phase or ([*PHASES] if asked.only else [*PHASES, *OTHERS])
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    with children.server() as url:
        bench = Bench(url, quiet=not asked.verbose)
        for name in wanted:
            if name in PHASES:
                phase = PHASES[name].quick() if asked.quick else PHASES[name]
                bench.run(phase, asked.only, asked.rounds)
        if "memory" in wanted:
            for name in ("ours", "ours-fast"):
                bench.grow(name)
        if "programs" in wanted:
            programs.start_times(bench.samples, rounds, asked.quick)
            programs.resident(bench.samples, asked.quick)
            programs.first_calls(bench.samples, url, min(rounds, 5))
        if "stores" in wanted:
            stores.append_rate(bench.samples, rounds)
            stores.reads(bench.samples, rounds)
        if "decisions" in wanted:
            decisions.decision_times(bench.samples, rounds)
    return bench


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(SUBJECTS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="Measure what a call costs, and hold it to the bars.")
    parser.add_argument("--only", type=_names, default=[], metavar="NAMES", help="subjects, separated by commas")
    parser.add_argument(
        "--phase", action="append", choices=[*PHASES, *OTHERS], help="what to measure; may be given several times"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each phase")
    parser.add_argument("--quick", action="store_true", help="only what the bars need, in fewer rounds; writes nothing")
    parser.add_argument("--profile", choices=TARGETS, help="print the dearest functions of one way to call, and stop")
    parser.add_argument("--verbose", action="store_true", help="show all values, and what the subjects print")
    return parser
