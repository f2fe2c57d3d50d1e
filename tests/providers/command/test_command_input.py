"""What a program gets: the conversation, its options, files, environment and working folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from helpers.agent_calls import KEY, ask, complete, failure
from helpers.command_support import provider
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.command import CommandConfig, CommandProvider

pytestmark = pytest.mark.usefixtures("machine")

READ = "import sys; text = sys.stdin.read(); "


def test_the_conversation_comes_by_stdin_and_never_by_argv() -> None:
    subject = provider(READ + "print(text, sys.argv[1:])", "{model}")
    assert complete(subject, "the prompt").text == "the prompt ['m']"
    several = complete(
        subject, {"role": "system", "content": "Be brief."}, "a", {"role": "assistant", "content": "b"}, "c"
    )
    assert several.text.startswith("Be brief.\n\n")
    assert '<message role="assistant">\nb\n</message>' in several.text


@pytest.mark.parametrize("text", ["a\0b", "-x", "$(touch x)", "{model}", "\u2028\U0001f600", "x" * 300_000])
def test_any_text_arrives_as_it_is(text: str) -> None:
    subject = provider("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())")
    assert complete(subject, text).text == text


def test_a_lone_surrogate_is_refused_before_the_run() -> None:
    for kind in ("text", "json"):
        error = failure(provider("print(1)", input=kind), "\ud800")
        assert error.failure_type is F.INVALID_REQUEST
        assert not error.sent


def test_options_reach_the_words_that_name_them() -> None:
    words = ["{model}", ["--temp", "{temperature}"], "--seed={seed}", "{{x}}", "a{{{model}}}"]
    subject = provider("import sys; print(sys.argv[1:])", *words)
    assert complete(subject).text == "['m', '{x}', 'a{m}']"
    assert complete(subject, temperature=0.0, seed=0).text == "['m', '--temp', '0.0', '--seed=0', '{x}', 'a{m}']"


def test_a_word_that_is_only_a_placeholder_needs_its_value() -> None:
    """Left out alone, it would leave its flag behind."""
    error = failure(provider("print(1)", "--model", "{model}"), model=None)
    assert error.failure_type is F.INVALID_REQUEST
    assert not error.sent
    assert complete(provider("import sys; print(sys.argv[1:])", ["--model", "{model}"]), model=None).text == "[]"


@pytest.mark.parametrize("word", ["{model}", "{model}x"])
def test_no_value_becomes_an_option(word: str) -> None:
    assert failure(provider("print(1)", word), model="--help").failure_type is F.INVALID_REQUEST
    assert complete(provider("import sys; print(sys.argv[1:])", "--model={model}"), model="-x").text == "['--model=-x']"


def test_a_nul_in_a_word_is_a_wrong_request() -> None:
    assert failure(provider("print(1)", "{model}"), model="a\0b").failure_type is F.INVALID_REQUEST


def test_files_hold_prompt_instructions_and_schema() -> None:
    code = READ + "print([open(path).read() for path in sys.argv[1:]], repr(text))"
    subject = provider(code, "{prompt_file}", "{system_file}", "{schema_file}")
    system = {"role": "system", "content": "Be brief."}
    schema = {"type": "object"}
    assert complete(subject, system, "hi", schema=schema).text == "['hi', 'Be brief.', '{\"type\": \"object\"}'] ''"
    optional = provider("import sys; print(sys.argv[1:])", ["-s", "{system_file}"], ["-j", "{schema_file}"])
    assert complete(optional).text == "[]"


def test_a_schema_without_a_file_goes_into_the_prompt() -> None:
    subject = provider("import sys; sys.stdout.write(sys.stdin.read())")
    assert '{"type": "object"}' in complete(subject, schema={"type": "object"}).text


def test_json_input_holds_the_whole_request() -> None:
    subject = provider("import sys; sys.stdout.write(sys.stdin.read())", input="json")
    message = {"role": "assistant", "content": "b", "provider_data": {"x": 1}}
    given = complete(subject, "a", message, "c", temperature=0.2, stop=("x",), schema={"type": "object"}).text
    assert json.loads(given) == {
        "model": "m", "temperature": 0.2, "stop": ["x"], "schema": {"type": "object"},
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                     {"role": "user", "content": "c"}],
    }  # fmt: skip


def test_what_no_word_passes_on_is_known_before_the_call() -> None:
    def lost(subject: CommandProvider, **options: Any) -> list[str]:
        return sorted(CommandProvider.unsupported(ask(**options), subject.config))

    options: dict[str, Any] = {"temperature": 0.1, "seed": 1, "stop": ("x",), "reasoning_effort": "low"}
    assert lost(provider("", "{seed}"), **options) == ["reasoning_effort", "stop", "temperature"]
    assert lost(provider("", set_env={"EFFORT": "{reasoning_effort}"}), **options) == ["seed", "stop", "temperature"]
    assert lost(provider("", input="json"), **options) == []
    assert lost(provider("", input="json"), logprobs=True, headers={"a": "b"}) == ["headers", "logprobs"]


def test_the_environment_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "marked")
    monkeypatch.setenv("WANTED", "yes")
    code = "import os; print(dict(os.environ))"
    subject = provider(
        code, env=["WANTED"], set_env={"LLM": "{model}!", "T": "{temperature}"}, api_key_env="LEE_TEST_KEY",
        key_variable="THEIR_KEY",
    )  # fmt: skip
    found = complete(subject).text
    assert "'WANTED': 'yes'" in found
    assert "'LLM': 'm!'" in found
    assert f"'THEIR_KEY': '{KEY}'" in found
    assert "marked" not in found
    assert "'T'" not in found
    assert f"'HOME': '{os.environ['HOME']}'" not in found


def test_the_working_folder_is_empty_or_the_workspace(tmp_path: Path) -> None:
    code = "import os, sys; print(os.listdir(), os.getcwd() == sys.argv[1])"
    assert complete(provider(code, "{workspace}")).text == "[] True"
    (tmp_path / "w").mkdir()
    (tmp_path / "w/x").touch()
    assert complete(provider(code, "{workspace}", workspace=str(tmp_path / "w"))).text == "['x'] True"


def test_nobody_knows_what_a_program_changes_unless_it_is_said() -> None:
    assert provider("").effects == "external"
    assert provider("", effects="none").effects == "none"


def test_the_doctor_finds_the_program() -> None:
    assert [level for level, _ in provider("").check()] == ["ok"]
    missing = CommandProvider("mine", CommandConfig(argv=["no-such-program-at-all"], workspace="/no/such/folder"))
    assert [level for level, _ in missing.check()] == ["error", "error"]
