"""The doctor's results as text: errors first, what is well folded, lines that fit a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from lee_llm_router.cli.findings_table import render_results
from lee_llm_router.doctor import CheckResult, Level


def result(level: Level, check: Any, subject: str, message: str = "well") -> CheckResult:
    return CheckResult(level, check, subject, message)


RESULTS = [
    result("ok", "file", "c.yaml", "reads well"),
    result("ok", "provider", "a"),
    result("warning", "provider", "b", "the key has quotes"),
    result("ok", "provider", "b", "reaches far"),
    result("ok", "provider", "c"),
    result("ok", "provider", "c", "and again"),
    result("error", "traces", "t", "is not a folder"),
    result("ok", "role", "r", "a, then b"),
    result("error", "role", "s", "no such provider"),
]


def test_the_worst_is_first_and_what_is_well_is_one_row_a_section() -> None:
    """Sections keep their order within a level. What has a fault is not said to be well, too."""
    assert (
        render_results(RESULTS)
        == """\
error    traces    t: is not a folder
error    role      s: no such provider
warning  provider  b: the key has quotes
ok       file      c.yaml: reads well
ok       provider  a, c
ok       role      r: a, then b
2 errors, 1 warning"""
    )


def test_verbose_shows_every_result() -> None:
    rows = render_results(RESULTS, verbose=True).splitlines()
    assert len(rows) == len(RESULTS) + 1
    assert rows[3:-1] == [
        f"ok       {one.check:<9} {one.subject}: {one.message}" for one in RESULTS if one.level == "ok"
    ]


@pytest.mark.parametrize("width", [1, 20, 40, 63, 80, 200])
def test_lines_break_between_words_and_fit_the_terminal(width: int) -> None:
    """Every word is whole; what continues a row is indented. A word longer than a line has one of its own."""
    long = "/a/folder-of/somebody-who-likes/long-names/lee-llm-router.yaml"
    several = [result("error", "file", f"{long}:3:12", "llm.roles.planner.timeout: a number is wanted, and not text"),
               *(result("ok", "role", f"role-{number}") for number in range(40))]  # fmt: skip
    text = render_results(several, width)
    assert " ".join(text.split()) == " ".join(render_results(several).split())
    for line in text.splitlines():
        assert len(line) <= max(width, 20) or len(line.split()) == 1
    assert all(line[0] != " " or line.startswith(" " * 9) for line in text.splitlines())
