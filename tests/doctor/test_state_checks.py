"""What the doctor says of the shared state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from lee_llm_router import register_state
from lee_llm_router.doctor import diagnose
from lee_llm_router.health.shared.contract import DoorReport, Exchange, LimitsReport


class Gone:
    """A state that answers nobody."""

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        raise OSError("nobody listens at redis://user:hunter2-secret@host")

    def wait_for_changes(self, seconds: float) -> Collection[str]:
        raise OSError("nobody listens")

    def close(self) -> None:
        pass


register_state("gone", Gone, replace=True)
TEXT = """
llm:
  providers: {offline: {type: mock}}
  roles: {r: {provider: offline}}
  state: %s
"""


@pytest.mark.parametrize(
    ("state", "expected"),
    [("memory", "LLR413"), ("{type: sqlite, path: ./state.sqlite}", "LLR413"), ("gone", "LLR414")],
)
def test_the_doctor_says_whether_the_shared_state_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "llm.yaml"
    file.write_text(TEXT % state)
    (result,) = [one for one in diagnose(file) if one.id in ("LLR413", "LLR414", "LLR415")]
    assert (result.id, result.line) == (expected, 5)
    assert "hunter2-secret" not in result.message


def test_the_doctor_leaves_a_cassette_as_it_is(tmp_path: Path) -> None:
    file, cassette = tmp_path / "llm.yaml", tmp_path / "answers.yaml"
    for mode in ("once", "new", "record"):
        file.write_text(TEXT % "memory" + f"  cassette: {{path: answers.yaml, mode: {mode}}}\n")
        assert "LLR451" not in {one.id for one in diagnose(file)}
        assert not cassette.exists()


def test_the_doctor_says_of_a_cassette_that_it_cannot_be_played(tmp_path: Path) -> None:
    file, cassette = tmp_path / "llm.yaml", tmp_path / "answers.yaml"
    file.write_text(TEXT % "memory" + "  cassette: {path: answers.yaml, mode: replay}\n")
    (missing,) = [one for one in diagnose(file) if one.id == "LLR451"]
    cassette.write_text("llm: {roles: {}}\n")
    (foreign,) = [one for one in diagnose(file) if one.id == "LLR451"]
    assert (missing.subject, missing.line, foreign.line) == ("cassette", 6, 6)
    assert "record it first" in missing.message and "not an exchange" in foreign.message
