"""`trace replay`: the same question once more, elsewhere, and both answers; refused where it would be another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Run
from helpers.records import make
from helpers.screens import comparison_screen
from lee_llm_router import LeeLLMRouter, LocalFileTraceStore, TraceRecord
from lee_llm_router.cli.trace.comparison import Answered, hint
from lee_llm_router.cli.trace.replay_request import CannotReplayError, replay_request
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry.calls import TracedCall

CONFIG = """
llm:
  default_role: first
  providers:
    one: {type: mock, response_text: "Paris.\\nIt is the capital."}
    two: {type: mock, response_text: "Paris.\\nOn the Seine."}
    echo: {type: mock, echo: true}
    dead: {type: mock, script: [{error: AUTH, message: no key}]}
  roles:
    first: {provider: one, model: m, temperature: 0.2}
    second: {provider: two, model: n}
    echo: {provider: echo, model: e}
    dead: {provider: dead}
  trace: {dir: t, capture: full}
"""
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(autouse=True)
def asked(here: Path) -> str:
    """A configuration that keeps texts, and one call; its id."""
    (here / "lee-llm-router.yaml").write_text(CONFIG)
    with LeeLLMRouter.from_file(here / "lee-llm-router.yaml") as router:
        talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital of France?"}]
        return router.complete("first", talk, seed=7, tools=[WEATHER], metadata={"tenant": "acme"}).request_id


def last() -> list[TraceRecord]:
    return LocalFileTraceStore("t").last(1)


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (("--role", "second"), "two/n"),
        (("--target", "two/other"), "two/other"),
        (("--target", "two"), "two/m"),
        (("--target", "mock/some/model"), "mock/some/model"),
        ((), "one/m"),
    ],
)
def test_the_same_question_is_asked_elsewhere(run: Run, asked: str, options: tuple[str, ...], target: str) -> None:
    """Messages, tools and settings; it is traced where the first one was, and says of which call it is a replay."""
    original = last()[0]
    code, out, err = run("trace", "replay", "@1", *options)
    assert (code, err) == (0, "")
    (again,) = last()
    assert again.request_id != asked
    assert again.target == target
    assert dict(again.metadata) == {"tenant": "acme", "replay_of": asked}
    assert (again.messages, again.tools) == (original.messages, original.tools)
    assert again.settings == original.settings
    assert asked in out and again.request_id in out


def test_what_holds_for_all_calls_holds_for_a_target_by_a_vendors_name(run: Run, here: Path, asked: str) -> None:
    """Its texts are masked as the configuration says, and a budget of all calls that is spent refuses it."""
    more = "redact: ['France']}\n  pricing: {models: {one: {input: 1, output: 1}}}\n  budget: {usd: 0.000001}\n"
    (here / "lee-llm-router.yaml").write_text(CONFIG.rstrip().removesuffix("}") + ", " + more)
    code, _, err = run("trace", "replay", asked, "--target", "mock/m")
    assert (code, err) == (0, "")
    (again,) = last()
    assert again.messages is not None
    assert again.messages[1]["content"] == "Capital of ***?"
    assert run("complete", "hi")[0] == 0
    code, out, _ = run("trace", "replay", asked, "--target", "mock/m")
    assert code == 1
    assert "budget" in out


def test_both_answers_stand_in_what_is_shown_with_their_figures(run: Run, asked: str) -> None:
    """And in a sentence, where they differ."""
    code, out, _ = run("trace", "replay", asked[-8:], "--role", "second")
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines() if line}
    assert code == 0
    assert rows["target"][-2:] == ["one/m", "two/n"]
    assert rows["outcome"][-2:] == ["ok", "ok"]
    assert "It is the capital." in out and "On the Seine." in out
    assert out.splitlines()[-1] == "The answers differ from line 2 on."
    assert run("trace", "replay", asked)[1].splitlines()[-1] == "Both answers are the same, word for word."
    data = json.loads(run("trace", "replay", asked, "--target", "echo/x", "--json")[1])
    assert (data["before"]["id"], data["before"]["text"]) == (asked, "Paris.\nIt is the capital.")
    assert (data["now"]["target"], data["now"]["text"], data["same"]) == ("echo/x", "Capital of France?", False)


def test_a_failure_now_is_shown_and_is_the_exit_code(run: Run, asked: str) -> None:
    """As is one before."""
    code, out, _ = run("trace", "replay", asked, "--role", "dead")
    assert code == 1
    assert "no key" in out
    assert out.splitlines()[-1] == "There is nothing to compare: there is no answer now."
    failed = last()[0].request_id
    code, out, _ = run("trace", "replay", failed, "--role", "second")
    assert code == 0
    assert "no answer: no key" in out and "On the Seine." in out
    data = json.loads(run("trace", "replay", failed, "--role", "dead", "--json")[1])
    assert ("no key" in data["now"]["error"], data["same"]) == (True, False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--role", "first", "--target", "one/m"), "combined with --role"),
        (("--role", "nobody"), "no such role"),
        (("--target", "oneee/m"), "providers dead, echo, one, two"),
    ],
)
def test_whom_to_ask_must_be_known(run: Run, asked: str, options: tuple[str, ...], told: str) -> None:
    """Exit code 2, and nobody is asked."""
    code, out, err = run("trace", "replay", asked, *options)
    assert (code, out) == (2, "")
    assert told in " ".join(err.replace("│", " ").split())
    assert last()[0].request_id == asked


def test_without_captured_texts_the_setting_that_keeps_them_is_named(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").write_text(CONFIG.replace("capture: full", "capture: meta"))
    run("complete", "hi")
    code, out, err = run("trace", "replay", "@1")
    assert (code, out, "capture: full" in err) == (2, "", True)


def captured(**fields: Any) -> TracedCall:
    kept: dict[str, Any] = {"messages": ({"role": "user", "content": "hi"},), "settings": {}, "provider": "a"}
    return TracedCall((make(**{"request_id": "x", "attempt": 0, **kept, **fields}),))


LONG = "x" * 150_000


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"messages": None}, "capture: full"),
        ({"messages": ()}, "without a message"),
        ({"operation": "embedding"}, "embedding"),
        ({"messages": ({"role": "user", "content": LONG + "..."},)}, "messages were too long"),
        ({"messages": ({"role": "user", "content": LONG}, {"content": "..."})}, "messages were too long"),
        ({"tools": ({"function": {"name": "f", "description": LONG + "..."}},)}, "tools were too long"),
        ({"settings": {"extra_body": {"a": [LONG, "..."]}}}, "settings were too long"),
    ],
)  # fmt: skip
def test_half_a_question_is_not_asked(fields: dict[str, Any], told: str) -> None:
    """What was cut when it was kept would be a different question."""
    with pytest.raises(CannotReplayError, match=told):
        replay_request(captured(**fields), "a")


@pytest.mark.parametrize("text", ["Go on ...", "wait...", LONG])
def test_points_of_the_users_own_are_no_cut(text: str) -> None:
    """A short text may end so."""
    assert replay_request(captured(messages=({"role": "user", "content": text},)), "a").notes == []


@pytest.mark.parametrize(
    ("fields", "provider", "left_out", "note"),
    [
        ({"settings": {"extra_body": {"x": 1}, "seed": 3}}, "b", "extra_body", "only for a: extra_body"),
        ({"settings": {"headers": {"X-Key": "***"}}}, "a", "headers", "a key in them was masked"),
        ({"settings": {"schema": "a type"}}, "a", "schema", "type of the program"),
        ({"messages": ({"role": "user", "content": "the key ***"},)}, "a", "", "a different one"),
        ({"settings": {"extra_body": {"x": 1}}}, "a", "", ""),
    ],
)
def test_what_differs_from_the_question_is_said(
    fields: Mapping[str, Any], provider: str, left_out: str, note: str
) -> None:
    """Options of one vendor, masks, and a schema that was a type."""
    request = replay_request(captured(**fields), provider)
    assert left_out not in request.options
    assert any(note in told for told in request.notes) or not note
    assert bool(request.notes) == bool(note)


@pytest.mark.parametrize("name", ["role", "messages", "self"])
def test_settings_that_no_call_has_are_not_taken_from_a_trace(name: str) -> None:
    """A trace may be anybody's; with these names the call could not even be made."""
    request = replay_request(
        TracedCall((make(messages=({"role": "user", "content": "hi"},), settings={name: 1}),)), None
    )
    assert name not in request.options


def test_a_repaired_call_is_asked_as_the_caller_asked_it() -> None:
    """Not with the broken answer that its second attempt showed the model."""
    first = captured().records[0]
    second = replace(first, attempt=1, messages=(*(first.messages or ()), {"role": "assistant", "content": "broken"}))
    request = replay_request(TracedCall((replace(first, outcome="error", verdict="retry"), second)), "a")
    assert [message["content"] for message in request.messages] == ["hi"]


def test_answers_stand_beside_each_other_where_there_is_room() -> None:
    """On a wide terminal; below each other on a narrow one. Nothing in them is obeyed."""
    usage = LLMUsage(prompt_tokens=5, completion_tokens=2)
    before = Answered(captured(usage=usage, cost_usd=0.5), "left\x1b[2J")
    now = Answered(captured(model="n\u202e"), "right " * 40)
    wide, narrow = comparison_screen(before, now, 120), comparison_screen(before, now, 60)
    assert any("left" in line and "right" in line for line in wide.splitlines())
    assert not any("left" in line and "right" in line for line in narrow.splitlines())
    for text, width in ((wide, 120), (narrow, 60)):
        assert "\x1b" not in text and "\u202e" not in text
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        ("a", "a", "the same, word for word"),
        ("a b", "a  b\n", "except for white space"),
        ("a\nb", "a\nc", "from line 2"),
        ("a", "a\nb", "from line 2"),
        ("", "x", "from line 1"),
    ],
)
def test_a_sentence_says_whether_the_answers_differ(one: str, two: str, told: str) -> None:
    assert told in hint(Answered(captured(), one), Answered(captured(), two))
