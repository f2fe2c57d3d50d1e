"""The results in `docs/benchmarks.md`, between two marks, and the chart beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from speed import decisions
from speed.catalog import ALONE, ASKED, CALLS, CONFIGURED, COUNTS, POLICIES, SUBJECTS
from speed.chart import draw
from speed.programs import IMPORTS, STEPS
from speed.report import bars_table, machine, number, table, versions
from speed.samples import Key, Samples

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_RESULTS = re.compile(r"(<!-- results -->\n).*(<!-- end of results -->)", re.DOTALL)
_CASES = {
    "async-1": "async c=1", "async-64": "async c=64", "async-1000": "async c=1000", "sync": "sync", "chunk": "chunk",
}  # fmt: skip
_TITLES = {"import": "**Lee LLM Router**", "five models": "five pydantic models, asyncio, logging", "python": "Python"}


def write(samples: Samples) -> None:
    """Put the results of a whole run into the document."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_RESULTS.sub(lambda found: found[1] + results(samples) + found[2], page), encoding="utf-8")
    draw(samples, PAGE.with_suffix(".png"))


def results(samples: Samples) -> str:
    """All tables of a run, in Markdown."""
    names = [subject.name for subject in CALLS]
    parts = [
        machine(),
        versions(),
        "### Bars", bars_table(samples),
        "### CPU microseconds per call", "![CPU time per call, by client and calls at once](benchmarks.png)",
        _costs(samples, names, list(_CASES)),
        "### Wall-clock microseconds per call", _costs(samples, names, list(_CASES), wall=True),
        "### The router alone, over the mock provider", _alone(samples),
        "### Decisions of policies", _decisions(samples),
        "### Providers and roles", _counts(samples),
        "### Starting", _starting(samples), _first_calls(samples),
        "### Traces and memory", _others(samples),
    ]  # fmt: skip
    return "\n" + "\n\n".join(parts) + "\n\n"


def _costs(samples: Samples, names: Sequence[str], cases: Sequence[str], *, wall: bool = False) -> str:
    rows = []
    for name in names:
        cells = [_cell(samples, (name, case), wall=wall) for case in cases]
        if any(cells):
            rows.append([SUBJECTS[name].title, *cells])
    return table(["", *(_CASES[case] for case in cases)], rows)


def _alone(samples: Samples) -> str:
    rows = []
    for subject in (*ALONE, *POLICIES):
        cells = [_cell(samples, (subject.name, case)) for case in ("async-1", "sync")]
        if any(cells):
            rows.append([subject.title, *cells])
    return table(["CPU us per call", "async c=1", "sync"], rows)


def _decisions(samples: Samples) -> str:
    rows = [
        [f"`{name}`", *(_cell(samples, (name, f"{length} targets")) for length in decisions.CHAIN_LENGTHS)]
        for name in decisions.POLICIES
    ]
    return table(["CPU us per decision, targets:", *map(str, decisions.CHAIN_LENGTHS)], rows)


def _counts(samples: Samples) -> str:
    rows = [
        ["two of them asked in turn", *(_cell(samples, (subject.name, "async-1")) for subject in CONFIGURED)],
        ["all of them asked in turn", *(_cell(samples, (subject.name, "async-1")) for subject in ASKED)],
    ]
    return table(["CPU us per call, configured:", *(f"{count:,}" for count in COUNTS)], rows)


def _starting(samples: Samples) -> str:
    rows = []
    for name in [*IMPORTS, "help", "typer"]:
        cells = [_cell(samples, (name, "start")), _cell(samples, (name, "resident"))]
        if any(cells):
            titles = {**_TITLES, "help": "`lee-llm-router --help`", "typer": "typer, pydantic"}
            rows.append([titles.get(name, name), *cells])
    return table(["process that imports", "CPU ms", "MB"], rows)


def _first_calls(samples: Samples) -> str:
    rows = []
    for name, title in (("ours", "**Lee LLM Router**"), ("httpx", "httpx")):
        cells = [_cell(samples, (name, step)) for step in STEPS]
        if any(cells):
            rows.append([title, *cells])
    return table(["CPU ms in a new process", *STEPS], rows)


def _others(samples: Samples) -> str:
    rows = [
        ["records appended per CPU second", _cell(samples, ("append", "per second"))],
        ["records appended to SQLite per CPU second", _cell(samples, ("append to SQLite", "per second"))],
        *(
            [f"{title} ({'1,000' if size == 'few' else '1,000,000'} records), CPU ms", _cell(samples, (name, size))]
            for name, title in (
                ("last", "`lee-llm-router trace --last 20`, the process"),
                ("last in process", "the last 20 calls, read"),
                ("find in process", "one call, found by its id"),
            )
            for size in ("few", "many")
        ),
        ["memory growth, call 1,000 to 10,000, MB", _cell(samples, ("ours", "growth"))],
        ["the same, [fast]", _cell(samples, ("ours-fast", "growth"))],
    ]
    return table(["", "measured"], rows)


def _cell(samples: Samples, key: Key, *, wall: bool = False) -> str:
    found = samples.wall(key) if wall else samples.spread(key)
    return "" if found is None else number(found.middle)
