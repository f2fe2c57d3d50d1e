"""The command `explain`: what asking would do, as text and as JSON, with nobody asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.command_line import Run, command
from helpers.terminal import Terminal
from lee_llm_router.providers.mock import MockProvider

CONFIG = """
llm:
  default_role: planner
  providers:
    keyless: {type: openai, api_key_env: A_KEY_THAT_IS_NOT_SET}
    program: {type: command, argv: ["true"]}
    good: {type: mock}
    named: {type: mock, response_text: "\\e]0;mine\\a"}
  roles:
    planner:
      provider: keyless
      model: large
      retry: {attempts: 4}
      extra_body: {note: 1}
      fallback_providers: [program, {provider: good, model: small, temperature: 0.9}, named]
"""


@pytest.fixture(autouse=True)
def file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "lee-llm-router.yaml").write_text(CONFIG)

    def refuse(*_: object) -> None:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr(MockProvider, "complete", refuse)
    monkeypatch.setattr(MockProvider, "stream", refuse)


def test_it_says_whom_a_call_asks_who_is_passed_over_and_why(run: Run, here: Path) -> None:
    """Nobody is asked, and nothing is traced."""
    code, out, _ = run("explain", "planner", "Plan a picnic", "-o", "seed=3")
    lines = [line.strip() for line in out.splitlines()]
    assert (code, lines[0]) == (0, "role planner asks good/small")
    assert "1. keyless/large failing: environment variable A_KEY_THAT_IS_NOT_SET is not set" in lines
    assert any(line.startswith("2. program/large skipped: it does not support what is asked: ") for line in lines)
    assert "3. good/small asked" in lines and "4. named/large next" in lines
    assert (
        "model small (fallback), temperature 0.9 (fallback), seed 3 (call), extra_body.note 1 (role), timeout 120 s (d"
        in out
    )
    assert "retry.attempts 4 (role)" in out and "deadline 600 s (default)" in out
    assert not (here / ".lee-llm-router").exists()
    assert "\x1b" not in out and "\\x1b]0;mine\\x07" in out


def test_as_json_it_is_what_the_router_explains(run: Run) -> None:
    code, out, _ = run("explain", "--json")
    told = json.loads(out)
    assert (code, told["role"], told["outcome"]) == (0, "planner", "asks")
    assert [target["state"] for target in told["targets"]] == ["failing", "skipped", "asked", "next"]


def test_why_a_target_is_skipped_can_be_asked_with_what_would_be_sent(run: Run, here: Path) -> None:
    """A picture, a tool, a schema, an option: the same options as those of `complete`."""
    (here / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (here / "t.json").write_text('{"name": "look", "parameters": {"type": "object", "properties": {}}}')
    program = ["explain", "--target", "mock/x", "hi"]
    assert run(*program)[1].splitlines()[0] == "role default asks mock/x"
    (here / "lee-llm-router.yaml").write_text(
        "llm:\n  providers: {p: {type: command, argv: ['true']}}\n  roles: {r: {provider: p}}\n"
    )
    for args, why in (
        (["-i", "a.png"], "takes text only"),
        (["--tool", "t.json"], "does not support tools"),
        (["-t", "1"], "temperature"),
        (["--max-tokens", "3"], "max_tokens"),
    ):
        code, out, _ = run("explain", "r", "hi", *args)
        assert code == 0 and out.splitlines()[0] == "role r fails: none of its targets can take it"
        assert why in out


def test_what_is_left_out_and_why(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(
        "llm:\n  providers: {p: {type: command, argv: ['true']}}\n  roles: {r: {provider: p}}\n"
    )
    out = run("explain", "r", "-t", "1", "-o", "drop_unsupported=true")[1]
    assert "left out temperature: no placeholder in argv" in out
    assert "effects external" in out


def test_wrong_usage_is_exit_2(run: Run) -> None:
    for args in (("nobody",), ("planner", "--target", "mock/x", "hi"), ("planner", "-f", "nope")):
        code, out, err = run("explain", *args)
        assert (code, out) == (2, "") and "Error" in err


def test_at_a_terminal_lines_are_as_long_as_it_is_wide(here: Path) -> None:
    """What goes on below stands further in than any line begins."""
    with Terminal(command("explain"), here, columns=50, lines=60) as terminal:
        assert terminal.ends() == 0
        assert "role planner asks good/small" in terminal.seen.splitlines()
        assert "  call deadline 600 s (default), retry.attempts 4\n      (role), retry.max_attempts" in terminal.seen
        assert "  1. keyless/large failing: environment variable\n      A_KEY_THAT_IS_NOT_SET" in terminal.seen
