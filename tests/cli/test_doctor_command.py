"""The command `doctor`: its forms, its choice of checks, its exit codes, and that nothing is changed without leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.command_line import Run
from helpers.servers import Received, Server, answering_by, completion, json_answer

WRONG = "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p, temperatur: 1, timeout: 9, deadline: 5}}\n"
ODD = "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p, timeout: 9, deadline: 5}}\n"
GOOD = "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p}}\n"


@pytest.mark.parametrize(
    ("text", "strict", "code"), [(WRONG, False, 1), (ODD, False, 0), (ODD, True, 1), (GOOD, True, 0)]
)
@pytest.mark.parametrize("form", [[], ["--json"], ["--format", "json"], ["--format", "github"], ["--verbose"]])
def test_the_exit_code_is_the_same_in_every_form(
    run: Run, here: Path, text: str, strict: bool, code: int, form: list[str]
) -> None:
    (here / "lee-llm-router.yaml").write_text(text)
    assert run("doctor", *form, *(["--strict"] if strict else []))[0] == code


def test_json_has_the_same_fields_for_each_result(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(ODD)
    results = json.loads(run("doctor", "--json")[1])
    assert all(
        list(one) == ["id", "level", "section", "subject", "message", "cure", "file", "line", "column"]
        for one in results
    )
    (odd,) = [one for one in results if one["level"] == "warning"]
    assert (odd["id"], odd["line"], odd["column"]) == ("LLR604", 3, 40)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--only", "LLR604"], {"LLR604"}),
        (["--only", "llr6"], {"LLR604", "LLR600"}),
        (["--only", "LLR6,LLR1", "--skip", "LLR600"], {"LLR604", "LLR100"}),
        (["--skip", "LLR1,LLR2,LLR3,LLR4,LLR5,LLR6,LLR7,LLR8"], set()),
    ],
)
def test_checks_are_chosen_by_ids_and_their_beginnings(run: Run, here: Path, words: list[str], left: set[str]) -> None:
    (here / "lee-llm-router.yaml").write_text(ODD)
    assert {one["id"] for one in json.loads(run("doctor", "--json", *words)[1])} == left
    assert run("doctor", "--strict", "--skip", "LLR604")[0] == 0


@pytest.mark.parametrize("option", ["--only", "--skip", "--explain"])
def test_a_wrong_id_is_wrong_usage_and_a_near_one_is_named(run: Run, option: str) -> None:
    code, out, err = run("doctor", option, "LLR60x")
    assert (code, out) == (2, "")
    assert "did you mean 'LLR60" in err


def test_a_check_is_explained_without_a_configuration(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").unlink()
    code, out, _ = run("doctor", "--explain", "LLR604")
    assert code == 0
    assert out.startswith("LLR604  deadline shorter than one attempt")


def test_github_gets_annotations_at_the_lines(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(WRONG)
    out = run("doctor", "--format", "github")[1]
    assert "::error file=lee-llm-router.yaml,title=LLR104" in out
    assert ",line=3,col=28::" in out


@pytest.mark.parametrize(
    "words", [["--format", "xml"], ["--json", "--format", "github"], ["--fix", "--json"], ["--live=all"]]
)
def test_wrong_usage_is_told_of(run: Run, words: list[str]) -> None:
    assert run("doctor", *words)[0] == 2


# --- repairs ---


def test_nothing_is_repaired_without_leave(run: Run, here: Path) -> None:
    """The changes are shown; without a terminal only --yes agrees."""
    file = here / "lee-llm-router.yaml"
    file.write_text(WRONG)
    code, out, err = run("doctor", "--fix")
    assert code == 1
    assert "+  roles: {r: {provider: p, temperature: 1" in out
    assert "use --yes" in err
    assert file.read_text() == WRONG
    code, out, err = run("doctor", "--fix", "--yes")
    assert code == 0
    assert file.read_text() == WRONG.replace("temperatur:", "temperature:")
    assert "nothing that can be repaired" in run("doctor", "--fix")[2]


@pytest.mark.parametrize(("answer", "is_changed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_at_a_terminal_it_is_asked_for(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_changed: bool
) -> None:
    file = here / "lee-llm-router.yaml"
    file.write_text(WRONG)
    monkeypatch.setattr("lee_llm_router.cli.doctor_command._is_at_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer == "y\n")
    run("doctor", "--fix")
    assert (file.read_text() != WRONG) == is_changed


# --- live ---


def test_live_asks_the_servers_and_call_the_targets(run: Run, here: Path) -> None:
    """Alone it asks for the models; =call asks a question too, if that was agreed to."""

    def answer(received: Received) -> bytes:
        return json_answer({"data": [{"id": "m"}]} if received.line.startswith("GET") else completion("OK"))

    with Server(answering_by(answer)) as server:
        (here / "lee-llm-router.yaml").write_text(
            f"llm:\n  providers: {{p: {{type: http, base_url: {server.url}}}}}\n"
            "  roles: {r: {provider: p, model: m}}\n"
        )

        def found(*words: str) -> tuple[int, list[str], str]:
            code, out, err = run("doctor", "--json", *words)
            return code, [one["id"] for one in json.loads(out) if one["section"] == "live"], err

        assert found() == (0, [], "")
        assert found("--live")[:2] == (0, ["LLR900"])
        assert found("--live", "--timeout", "5")[:2] == (0, ["LLR900"])
        code, ids, err = found("--live=call")
        assert (code, ids) == (0, ["LLR900", "LLR932"])
        assert "price is not known: p/m" in err
        assert found("--live", "call", "--yes")[:2] == (0, ["LLR900", "LLR931"])
    code, ids, _ = found("--live")
    assert (code, ids) == (1, ["LLR902"])
