"""The doctor's results as text: errors first, what is well folded, lines that fit a terminal; and GitHub's commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lee_llm_router.cli.findings_table import github_commands, print_results, render_results
from lee_llm_router.doctor import CheckResult, Level
from lee_llm_router.doctor.results import Place, found


def result(check: str, subject: str, message: str = "well", level: Level | None = None) -> CheckResult:
    return found(check, subject, message, level=level, cure="" if level != "error" else "mend it")


RESULTS = [
    result("LLR100", "c.yaml", "reads well"),
    result("LLR500", "a"),
    result("LLR503", "b", "the key has quotes"),
    result("LLR500", "b", "reaches far"),
    result("LLR500", "c"),
    result("LLR500", "c", "and again"),
    result("LLR801", "t", "is not a folder", "error"),
    result("LLR801", "u", "is not a folder", "error"),
    result("LLR600", "r", "a, then b"),
    result("LLR610", "r", "no fallback"),
    result("LLR601", "s", "no such role", "error"),
]


def test_the_worst_is_first_and_what_is_well_is_one_row_a_section() -> None:
    """Sections keep their order within a level, and what to do stands once for each check. What has a fault is not
    said to be well, too."""
    assert (
        render_results(RESULTS)
        == """\
error    LLR801 t: is not a folder
         do: mend it
error    LLR801 u: is not a folder
error    LLR601 s: no such role
         do: mend it
warning  LLR503 b: the key has quotes
info     LLR610 r: no fallback
ok       file      c.yaml: reads well
ok       provider  a, c
ok       role      r: a, then b
3 errors, 1 warning"""
    )


def test_verbose_shows_every_result() -> None:
    rows = render_results(RESULTS, verbose=True).splitlines()
    assert [row for row in rows if row.startswith("ok ")] == [
        f"ok       {one.section:<9} {one.subject}: {one.message}" for one in RESULTS if one.level == "ok"
    ]


def test_the_place_stands_in_front_unless_it_is_the_subject() -> None:
    there = found("LLR604", "planner", "too short", at=Place("c.yaml", 4, 5), cure="")
    assert render_results([there]).splitlines()[0] == "warning  LLR604 c.yaml:4:5: planner: too short"
    same = found("LLR104", "c.yaml:4:5", "unknown key", at=Place("c.yaml", 4, 5), cure="")
    assert render_results([same]).splitlines()[0] == "error    LLR104 c.yaml:4:5: unknown key"


def test_a_file_below_the_current_folder_is_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other by its whole path."""
    monkeypatch.chdir(tmp_path)
    here, there = str(tmp_path / "deep/c.yaml"), str(tmp_path.parent / "c.yaml")
    assert "LLR604 deep/c.yaml:4:5: planner: too short" in render_results(
        [found("LLR604", "planner", "too short", at=Place(here, 4, 5))]
    )
    assert "LLR104 deep/c.yaml:4:5: unknown key" in render_results(
        [found("LLR104", f"{here}:4:5", "unknown key", at=Place(here, 4, 5))]
    )
    assert f"LLR604 {there}:4:5: planner" in render_results([found("LLR604", "planner", "no", at=Place(there, 4, 5))])
    monkeypatch.chdir("/")
    assert f"LLR604 {there}:4:5: planner" in render_results([found("LLR604", "planner", "no", at=Place(there, 4, 5))])


@pytest.mark.parametrize("width", [1, 20, 40, 63, 80, 200])
def test_lines_break_between_words_and_fit_the_terminal(width: int) -> None:
    """Every word is whole; what continues a row is indented. A word longer than a line has one of its own."""
    long = "/a/folder-of/somebody-who-likes/long-names/lee-llm-router.yaml"
    several = [
        result("LLR106", f"{long}:3:12", "llm.roles.planner.timeout: a number is wanted, and not text", "error"),
        *(result("LLR600", f"role-{number}") for number in range(40)),
    ]
    text = render_results(several, width)
    assert " ".join(text.split()) == " ".join(render_results(several).split())
    for line in text.splitlines():
        assert len(line) <= max(width, 20) or len(line.split()) == 1
    assert all(line[0] != " " or line.startswith(" " * 9) for line in text.splitlines())


@pytest.mark.parametrize("width", [20, 60, 120])
def test_colours_change_nothing_but_colours(width: int) -> None:
    """At a terminal the lines are the same, whatever width it has."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", print_results(RESULTS, width))
    assert plain == render_results(RESULTS, width)
    assert "\x1b[1;31m" in print_results(RESULTS, width)


def test_what_a_terminal_obeys_is_escaped() -> None:
    """A name of a file or a server's word cannot set colours or titles."""
    odd = CheckResult("LLR502", "error", "provider", "a\x1b]0;x\x07", "b\u202e", "c\x9b")
    for text in (render_results([odd]), github_commands([odd])):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_commands_for_github_name_file_line_and_column_and_escape_what_github_reads() -> None:
    """Percent signs and newlines are escaped everywhere, colons and commas in properties; what is well is left out."""
    odd = CheckResult("LLR502", "error", "provider", "a,b", "100%: yes,\r\nno", "", "x,y%:z.yaml", 3, 9)
    mild = CheckResult("LLR610", "info", "role", "r", "no fallback", "add one")
    assert github_commands([result("LLR100", "c"), odd, mild]).splitlines() == [
        "::error file=x%2Cy%25%3Az.yaml,title=LLR502 a%2Cb,line=3,col=9::100%25: yes,%0D%0Ano",
        "::notice title=LLR610 r::no fallback%0Aadd one",
    ]


def test_github_is_told_of_files_from_the_top_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would not find them; a file elsewhere keeps its path."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    for file, shown in ((tmp_path / "a" / "c.yaml", "a/c.yaml"), (Path("/elsewhere.yaml"), "/elsewhere.yaml")):
        there = found("LLR604", "r", "too short", at=Place(str(file), 4, 5), cure="")
        assert github_commands([there]).startswith(f"::warning file={shown},")
