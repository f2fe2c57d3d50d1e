"""The command: what to measure, and what to do with the results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from speed import children, report
from speed.catalog import SUBJECTS
from speed.phases import PHASES
from speed.profiling import TARGETS, profile
from speed.rounds import Bench


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if a bar is missed."""
    asked = _parser().parse_args(arguments)
    if asked.profile:
        with children.server() as url:
            print(profile(url, asked.profile))
        return 0
    phases = asked.phase or list(PHASES)
    with children.server() as url:
        bench = Bench(url, quiet=not asked.verbose)
        for name in phases:
            bench.run(PHASES[name], asked.only, asked.rounds)
    print(report.raw_table(bench.samples))
    print()
    print(report.bars_table(bench.samples))
    return int(bool(report.missed(bench.samples)))


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(SUBJECTS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="Measure what a call costs, and hold it to the bars.")
    parser.add_argument("--only", type=_names, default=[], metavar="NAMES", help="subjects, separated by commas")
    parser.add_argument("--phase", action="append", choices=PHASES, help="what to measure; may be given several times")
    parser.add_argument("--rounds", type=int, help="rounds of each phase")
    parser.add_argument("--profile", choices=TARGETS, help="print the dearest functions of one way to call, and stop")
    parser.add_argument("--verbose", action="store_true", help="show what the subjects print")
    return parser
