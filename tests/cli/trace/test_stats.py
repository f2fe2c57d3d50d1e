"""`trace stats`: a row for each group, in as many columns as have room; whole in a pipe, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.command_line import Run
from helpers.drawn_examples import examples
from helpers.records import make
from helpers.trace_set import trace_set
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.cli.trace.layout import columns
from lee_llm_router.cli.trace.screen import drawn
from lee_llm_router.cli.trace.statistics_table import render_statistics
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.statistics import GroupStatistics, TraceStatistics, grouping_of, trace_statistics


@pytest.fixture
def store(tmp_path: Path) -> LocalFileTraceStore:
    kept = LocalFileTraceStore(tmp_path / "traces")
    for record in trace_set(60):
        kept.write(record)
    return kept


def table(store: LocalFileTraceStore, by: str, width: int = 160, *, plain: bool = False) -> list[str]:
    found = trace_statistics(store, grouping_of(by))
    return drawn(lambda console: render_statistics(found, console, plain=plain), width).splitlines()


def row(**fields: Any) -> GroupStatistics:
    base: dict[str, Any] = dict.fromkeys(GroupStatistics.__slots__, 0)
    return GroupStatistics(**{**base, "group": {}, **fields})


def test_a_pipe_gets_every_column_whole_and_aligned(store: LocalFileTraceStore, run: Run) -> None:
    """The names of columns first, the row of all last; a cell is one word, for awk."""
    code, out, err = run("trace", "stats", "--dir", str(store.trace_dir), "--by", "role")
    assert (code, err) == (0, "")
    head, *rows = [line.split() for line in out.splitlines()]
    assert head == [
        "role", "calls", "attempts", "errors", "saved", "p50", "p95", "p99", "first_p50", "first_p95", "in", "out",
        "cost", "unknown",
    ]  # fmt: skip
    assert {len(cells) for cells in rows} == {len(head)}
    assert [cells[0] for cells in rows][-1] == "all"
    assert {cells[0] for cells in rows[:-1]} == {"planner", "extractor", "summarizer"}
    assert sum(int(cells[1]) for cells in rows[:-1]) == int(rows[-1][1]) == 60


def test_it_says_that_numbers_over_sampled_traces_are_estimates(tmp_path: Path, run: Run) -> None:
    """Below a table, beside the rows of a pipe, and in JSON: of ten calls one was kept."""
    store = LocalFileTraceStore(tmp_path)
    for number in range(6):
        store.write(make(f"good-{number}", kept_share=0.1))
    for number in range(20):
        store.write(make(f"bad-{number}", outcome="error", verdict="raise", failure_type="AUTH"))
    code, out, err = run("trace", "stats", "--dir", str(tmp_path))
    assert (code, out.splitlines()[1].split()[:4]) == (0, ["all", "80", "80", "25%"])
    assert "estimates" in err
    assert "estimates" in "".join(table(store, "role"))
    found = json.loads(run("trace", "stats", "--dir", str(tmp_path), "--json")[1])
    assert (found["estimated"], found["total"]["calls"], found["total"]["kept"]) == (True, 80, 26)


@pytest.mark.parametrize("width", [24, 40, 60, 80, 200])
@pytest.mark.parametrize("by", ["", "role", "provider", "failure", "day,metadata.tenant"])
def test_a_row_for_each_group_fits_any_terminal(store: LocalFileTraceStore, by: str, width: int) -> None:
    """What has no room is left out; below 60 columns the numbers stand below the name."""
    lines = table(store, by, width)
    assert max(map(columns, lines)) <= width
    found = trace_statistics(store, grouping_of(by))
    assert any(line.split()[:1] == ["all"] for line in lines)
    for one in found.groups:
        first = next(iter(one.group.values())) or "-"
        assert any(line.startswith(first[:10]) for line in lines)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_groups_by_several_names_are_told_apart(store: LocalFileTraceStore, width: int) -> None:
    """Each name has a column of its own, and is whole where leaving out the lesser numbers makes room for it."""
    head, *lines = table(store, "role,day", width)
    assert head.split()[:2] == ["role", "day"]
    groups = trace_statistics(store, grouping_of("role,day")).groups
    assert [line.split()[:2] for line in lines[: len(groups)]] == [list(one.group.values()) for one in groups]
    starts = {line.index(" 2027-") for line in lines[: len(groups)]}
    assert len(starts) == 1


def test_in_a_pipe_each_name_of_a_group_is_a_cell(store: LocalFileTraceStore) -> None:
    head, first, *_ = table(store, "role,day", plain=True)
    assert head.split()[:3] == ["role", "day", "calls"]
    assert len(head.split()) == len(first.split())


def test_what_the_numbers_are_of_stands_below(store: LocalFileTraceStore) -> None:
    """By provider single attempts are counted; and a cost that nobody knows is not 0."""
    assert any(line.startswith("Times are of whole calls") for line in table(store, "role"))
    assert any(line.startswith("Errors, times and costs are of single attempts") for line in table(store, "provider"))
    assert any("is not known; it is not 0" in line for line in table(store, "role"))


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ([{"cost_usd": 1.5}], "$1.50"),
        ([{"cost_usd": 1.2, "usage": LLMUsage(total_tokens=1)}, {"usage": LLMUsage(total_tokens=1)}], "$1.20+"),
        ([{"usage": LLMUsage(total_tokens=1)}], "unknown"),
        ([{}], "-"),
    ],
)
def test_a_cost_says_how_much_of_it_is_known(tmp_path: Path, fields: list[dict[str, Any]], cost: str) -> None:
    """All, a part, nothing of what was used; and nothing was used that costs."""
    kept = LocalFileTraceStore(tmp_path)
    for number, given_fields in enumerate(fields):
        kept.write(make(f"call-{number}", **given_fields))
    assert table(kept, "", plain=True)[1].split()[-2] == cost


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (0.0, "0.0%"),
        (0.0001, "<0.1%"),
        (0.033, "3.3%"),
        (0.5, "50%"),
        (0.995, "99.5%"),
        (0.9999, ">99.9%"),
        (1, "100%"),
    ],
)
def test_few_errors_are_not_shown_as_none_and_nearly_all_not_as_all(rate: float, shown: str) -> None:
    found = TraceStatistics("calls", [], row(calls=1, error_rate=rate))
    text = drawn(lambda console: render_statistics(found, console, plain=True), 80)
    assert text.splitlines()[1].split()[3] == shown


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=4), st.integers(24, 200), st.booleans())
def test_no_name_from_outside_harms_a_terminal(names: list[str], width: int, plain: bool) -> None:
    """Escapes, marks of direction, newlines, wide characters."""
    rows = [row(group={"metadata.k": name}, calls=1) for name in names]
    found = TraceStatistics("calls", rows, row(calls=len(names)))
    lines = drawn(lambda console: render_statistics(found, console, plain=plain), width).split("\n")
    assert all(line.isprintable() for line in lines)
    assert plain or max(map(columns, lines)) <= width


def test_as_json_every_number_is_there(store: LocalFileTraceStore, run: Run) -> None:
    """Rates from 0 to 1, milliseconds, dollars; or the fields that are asked for."""
    folder = ["--dir", str(store.trace_dir), "--json"]
    code, out, _ = run("trace", "stats", *folder, "--by", "provider,day")
    found = json.loads(out)
    assert (code, found["by"], found["unit"]) == (0, ["provider", "day"], "attempts")
    assert set(found["groups"][0]["group"]) == {"provider", "day"}
    assert set(found["total"]) == set(GroupStatistics.__slots__)
    found = json.loads(run("trace", "stats", *folder, "--fields", "calls,group.role", "--by", "role")[1])
    assert found["total"] == {"calls": 60, "group.role": None}
    assert {one["group.role"] for one in found["groups"]} == {"planner", "extractor", "summarizer"}


def test_the_same_filters_hold_as_for_the_listing(store: LocalFileTraceStore, run: Run) -> None:
    folder = ["--dir", str(store.trace_dir), "--json", "--fields", "calls,errors"]
    code, out, _ = run("trace", "stats", *folder, "--role", "plan*", "--status", "error")
    total = json.loads(out)["total"]
    assert code == 0
    assert 0 < total["calls"] == total["errors"] < 60


def test_columns_of_ones_own(store: LocalFileTraceStore, run: Run) -> None:
    code, out, _ = run("trace", "stats", "--dir", str(store.trace_dir), "--fields", "unfinished,errors")
    assert (code, out.splitlines()[0].split()) == (0, ["group", "unfinished", "errors"])


def test_without_calls_it_says_so(tmp_path: Path, run: Run) -> None:
    (tmp_path / "none").mkdir()
    code, out, err = run("trace", "stats", "--dir", "none")
    assert (code, out, err) == (0, f"no calls traced in {tmp_path / 'none'}\n", "")
    code, out, err = run("trace", "stats", "--dir", "none", "--role", "x")
    assert out.startswith("no such calls traced")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "rolle"], "did you mean 'role'?"),
        (["--by", "metadata."], "not one of"),
        (["--fields", "cals"], "did you mean calls?"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(run: Run, words: list[str], said: str) -> None:
    code, out, err = run("trace", "stats", *words)
    assert (code, out) == (2, "")
    assert said in err
