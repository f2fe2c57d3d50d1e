"""The provider `command`: how any program is run, and what its output means."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import LLMRequest, LLMResponse, LLMRouterError
from lee_llm_router.errors import FailureType as F
from lee_llm_router.errors import LLMTimeoutError, ProviderError
from lee_llm_router.providers.command import CommandConfig, CommandProvider

HANG = 60.0
KEY = "key-value-0123456789"
READ = "import sys; text = sys.stdin.read(); "


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files must be empty in the end, and no child left."""
    temp = tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    monkeypatch.setenv("LEE_TEST_KEY", KEY)
    yield tmp_path
    assert list(temp.iterdir()) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def provider(code: str, *words: Any, **settings: Any) -> CommandProvider:
    """Return a provider whose program is this Python code, called with `words`."""
    argv = [sys.executable, "-IS", "-c", escaped(code), *words]
    return CommandProvider("mine", CommandConfig(argv=argv, **settings))


def ask(*messages: Any, **options: Any) -> LLMRequest:
    found = tuple({"role": "user", "content": one} if isinstance(one, str) else one for one in messages or ("hello",))
    return LLMRequest(messages=found, **{"model": "m", **options})


def complete(subject: CommandProvider, *messages: Any, timeout: float = HANG, **options: Any) -> LLMResponse:
    return subject.complete(ask(*messages, **options), timeout)


def failure(subject: CommandProvider, *messages: Any, timeout: float = HANG, **options: Any) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        complete(subject, *messages, timeout=timeout, **options)
    return caught.value


def printing(*values: Any, **settings: Any) -> CommandProvider:
    """Return a provider whose program prints these values, each as JSON on a line; text as it is."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in values]
    return provider(f"import sys; sys.stdout.write({chr(10).join(lines)!r})", **settings)


def failing(code: int, stderr: str = "", stdout: str = "", **settings: Any) -> CommandProvider:
    return provider(
        f"import sys; sys.stdout.write({stdout!r}); sys.stderr.write({stderr!r}); sys.exit({code})", **settings
    )


# What the program gets


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


def test_secrets_are_masked_in_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_TOKEN", f"other-{KEY}")
    subject = failing(1, f"bad key {KEY}, other-{KEY}", env=["OTHER_TOKEN"], api_key_env="LEE_TEST_KEY")
    assert KEY not in str(failure(subject))


# What its output means


def test_printed_text_is_the_answer_without_its_last_line_end() -> None:
    response = complete(provider("print(' a\\n\\n b ')"))
    assert (response.text, response.finish_reason) == (" a\n\n b ", "stop")
    assert not response.usage


def test_an_answer_file_is_the_answer() -> None:
    subject = provider(
        "import sys; open(sys.argv[1], 'w').write('in the file'); print('log')", "{output_file}", output="file"
    )
    assert complete(subject).text == "in the file"


@pytest.mark.parametrize(
    "code",
    [
        "pass", "import os; os.symlink('/etc/passwd', path)", "import os; os.mkfifo(path)", "import os; os.mkdir(path)",
        "open(path, 'w').write('x' * 5000)", "open(path, 'w')", "open(path, 'wb').write(b'\\xff')",
        "open(path, 'w').write(chr(10) * 9)",
    ],
)  # fmt: skip
def test_a_file_that_is_no_answer_is_none(code: str) -> None:
    """None, a link, a pipe, a folder, a huge one, an empty one, no text: and nothing waits for it."""
    subject = provider(f"import sys; path = sys.argv[1]; {code}", "{output_file}", output="file", max_output_bytes=4096)
    assert failure(subject).failure_type is F.INVALID_RESPONSE


def test_json_is_read_by_paths() -> None:
    document = {
        "result": {"text": "hi"}, "usage": {"in": 3, "out": 4, "cached": 1, "thought": 2}, "model": "served",
        "cost": 0.25, "session": "s-1", "thoughts": "hmm", "why": "max_tokens",
    }  # fmt: skip
    paths = {
        "prompt_tokens": "usage.in", "completion_tokens": "usage.out", "cached_tokens": "usage.cached",
        "reasoning_tokens": "usage.thought",
    }  # fmt: skip
    subject = printing(
        document, output="json", answer_path="result.text", model_path="model", cost_path="cost",
        session_path="session", reasoning_path="thoughts", finish_path="why", usage_paths=paths,
    )  # fmt: skip
    response = complete(subject)
    assert (response.text, response.model, response.cost_usd, response.reasoning) == ("hi", "served", 0.25, "hmm")
    assert (response.finish_reason, response.details.id) == ("length", "s-1")
    usage = response.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 4, 7)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (1, 2)
    assert response.raw == [document]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("a", {"a": "x"}), ("a.b", {"a": {"b": "x"}}), ("a[0].b", {"a": [{"b": "x"}]}), ("a.0.b", {"a": [{"b": "x"}]}),
        ("a[-1]", {"a": ["y", "x"]}), ('"a.b".c', {"a.b": {"c": "x"}}), ("a-b_c", {"a-b_c": "x"}), ("[1]", ["y", "x"]),
        ("a.0", {"a": {"0": "x"}}), ('a."\\"q"', {"a": {'"q': "x"}}), ("ä", {"ä": "x"}),
    ],
)  # fmt: skip
def test_paths_lead_through_objects_and_lists(path: str, document: Any) -> None:
    assert complete(printing(document, output="json", answer_path=path)).text == "x"


def test_of_several_lines_the_last_that_has_it_counts() -> None:
    lines = ["starting...", {"t": "one", "u": 1}, {"t": "two"}, {"t": None}, {"other": 1}, "", "done {"]
    subject = printing(*lines, output="json", answer_path="t", usage_paths={"prompt_tokens": "u"})
    response = complete(subject)
    assert response.text == "two"
    assert response.usage.prompt_tokens == 1


def test_json_may_stand_behind_other_text_and_on_many_lines() -> None:
    subject = printing("warning: slow", json.dumps({"t": {"x": "y"}}, indent=2), output="json", answer_path="t.x")
    assert complete(subject).text == "y"
    assert complete(printing("\ufeff" + json.dumps({"t": "y"}), output="json", answer_path="t")).text == "y"


@pytest.mark.parametrize(
    ("printed", "path"),
    [
        ({"t": 1}, "t"), ({"t": ["x"]}, "t"), ({"t": {}}, "t"), ({"t": ""}, "t"), ({"t": " "}, "t"),
        ({"t": "x"}, "t.x"), ({"t": "x"}, "t[0]"), ({"t": ["x"]}, "t[1]"), ({"t": ["x"]}, "t[-2]"), ({"u": "x"}, "t"),
        ("no json", "t"), ("", "t"), ('{"t": "x"', "t"), ("[" * 100_000, "t"), ("9" * 5000, "t"),
        ({"t": ["x"]}, "t.9999999999"),
    ],
)  # fmt: skip
def test_json_without_a_text_at_its_path_is_no_answer(printed: Any, path: str) -> None:
    error = failure(printing(printed, output="json", answer_path=path))
    assert error.failure_type is F.INVALID_RESPONSE
    assert error.sent


def test_where_json_is_wanted_a_value_is_an_answer() -> None:
    subject = printing({"t": {"a": [1]}}, output="json", answer_path="t")
    assert complete(subject, json_mode=True).text == '{"a": [1]}'


@pytest.mark.parametrize("value", [-1, "3", True, 1.5, 1e400, None, [], "x" * 9])
def test_numbers_and_names_are_believed_only_if_they_can_be_true(value: Any) -> None:
    subject = printing(
        {"t": "x", "v": value}, output="json", answer_path="t", cost_path="v", model_path="v",
        usage_paths={"prompt_tokens": "v"},
    )  # fmt: skip
    response = complete(subject)
    assert response.usage.prompt_tokens is None
    assert response.cost_usd in (None, 1.5)
    assert response.model is None or isinstance(response.model, str)


@pytest.mark.parametrize(
    ("word", "kind"), [("SAFETY", F.CONTENT_FILTER), ("error", F.PROVIDER_ERROR), ("incomplete", F.INVALID_RESPONSE)]
)
def test_an_answer_that_was_broken_off_is_none(word: str, kind: F) -> None:
    error = failure(printing({"t": "half", "f": word}, output="json", answer_path="t", finish_path="f"))
    assert error.failure_type is kind
    assert error.response is not None
    assert error.response.text == "half"


@pytest.mark.parametrize("code", ["pass", "print()", "import os; os.close(1)", "import sys; sys.stdin.close()"])
def test_no_output_is_no_answer(code: str) -> None:
    assert failure(provider(code), "x" * 200_000).failure_type is F.INVALID_RESPONSE


def test_bytes_that_are_no_text_are_no_answer() -> None:
    error = failure(provider("import sys; sys.stdout.buffer.write(b'abc\\xff')"))
    assert error.failure_type is F.INVALID_RESPONSE


def test_a_flood_is_ended() -> None:
    subject = provider("while True: print('x' * 999)", max_output_bytes=4096)
    assert failure(subject).failure_type is F.INVALID_RESPONSE


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    code = (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-IS', '-c', 'import time; time.sleep(999)'], start_new_session=True); "
        "print('half', flush=True); time.sleep(999)"
    )
    assert isinstance(failure(provider(code, term_grace=0), timeout=1.0), LLMTimeoutError)


def test_a_missing_program_is_a_lasting_failure() -> None:
    error = failure(CommandProvider("mine", CommandConfig(argv=["no-such-program-at-all"])))
    assert isinstance(error, ProviderError)
    assert error.final
    assert not error.sent


def streamed(subject: CommandProvider) -> list[str]:
    stream = subject.stream(ask(), HANG)
    texts = []
    try:
        while (chunk := stream.pull(HANG)) is not None:
            texts.append(chunk.text)
    finally:
        stream.close()
    return [text for text in texts if text]


def test_printed_text_is_streamed_line_by_line() -> None:
    assert streamed(printing("\ufeff", "", "a", "", " b ", "\r", "")) == ["a", "\n\n b "]
    assert streamed(printing({"t": "x"}, output="json", answer_path="t")) == ["x"]


def test_a_streamed_answer_of_a_program_that_fails_breaks() -> None:
    with pytest.raises(LLMRouterError) as caught:
        streamed(failing(3, stdout="a\nb\n"))
    assert caught.value.failure_type is F.PROVIDER_ERROR
    with pytest.raises(LLMRouterError) as caught:
        streamed(provider("import sys; sys.stdout.buffer.write(b'a\\n\\xff\\nb')"))
    assert caught.value.failure_type is F.INVALID_RESPONSE


# What a failed run means


@pytest.mark.parametrize(
    ("code", "stderr", "kind", "wait"),
    [
        (1, "", F.PROVIDER_ERROR, None),
        (3, "Traceback ...\nError: 429 rate limit exceeded, try again in 20s", F.RATE_LIMIT, 20.0),
        (1, "insufficient_quota: you exceeded your current quota", F.QUOTA, None),
        (1, "PermissionError: [Errno 13] Permission denied: '/x'", F.PROVIDER_ERROR, None),
        (1, "FileNotFoundError: model.txt not found", F.PROVIDER_ERROR, None),
        (127, "sh: not found", F.PROVIDER_ERROR, None),
        (137, "", F.PROVIDER_ERROR, None),
    ],
)
def test_a_failure_without_a_rule_is_named_by_its_words(code: int, stderr: str, kind: F, wait: float | None) -> None:
    """On stderr only words of limits are believed: others may speak of this machine."""
    error = failure(failing(code, stderr))
    assert (error.failure_type, error.retry_after, error.status_code) == (kind, wait, code)


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ([{"exit_code": 3, "type": "QUOTA"}], F.QUOTA),
        ([{"exit_code": 4, "type": "QUOTA"}, {"stderr": r"boom \d+", "type": "AUTH"}], F.AUTH),
        ([{"exit_code": 3, "stderr": "no", "type": "QUOTA"}, {"exit_code": 3, "type": "OVERLOADED"}], F.OVERLOADED),
        ([{"stdout": "^out$", "stderr": "boom", "type": "CONTENT_FILTER"}], F.CONTENT_FILTER),
        ([{"stderr": "never", "type": "QUOTA"}], F.PROVIDER_ERROR),
    ],
)
def test_the_first_rule_that_fits_names_a_failure(rules: list[Any], kind: F) -> None:
    assert failure(failing(3, "boom 77", "out", failures=rules)).failure_type is kind


def test_a_rule_may_say_how_long_to_wait_and_that_it_is_final() -> None:
    rule = {"exit_code": 3, "type": "QUOTA", "retry_after": 90, "final": True}
    error = failure(failing(3, failures=[rule]))
    assert (error.retry_after, error.final) == (90.0, True)
    by_words = failure(failing(3, "again in 30 s", failures=[{"exit_code": 3, "type": "QUOTA"}]))
    assert by_words.retry_after == 30.0


def test_an_error_printed_as_an_answer_is_known_by_a_rule() -> None:
    subject = failing(0, stdout="ERROR: out of credit", failures=[{"stdout": "^ERROR", "type": "QUOTA"}])
    assert failure(subject).failure_type is F.QUOTA
    rules = [{"stderr": "rate limit", "type": "RATE_LIMIT"}, {"exit_code": 3, "stdout": "hello", "type": "AUTH"}]
    fine = failing(0, "rate limit, retrying", "hello", failures=rules)
    assert complete(fine).text == "hello"


def test_an_error_in_the_json_is_a_failure_whatever_the_exit_code() -> None:
    document = {"t": "half", "error": {"message": "Invalid API key provided"}}
    settings: dict[str, Any] = {"output": "json", "answer_path": "t", "error_path": "error.message"}
    error = failure(printing(document, **settings))
    assert error.failure_type is F.AUTH
    assert error.message == "Invalid API key provided"
    assert complete(printing({"t": "x", "error": None}, **settings)).text == "x"
    by_rule = printing(document, failures=[{"error": "API key", "type": "MODEL_NOT_FOUND"}], **settings)
    assert failure(by_rule).failure_type is F.MODEL_NOT_FOUND


def test_other_exit_codes_may_be_good() -> None:
    assert complete(failing(7, stdout="x", success_exits=[0, 7])).text == "x"
    assert complete(failing(7, stdout="x", success_exits=7)).text == "x"


def test_nobody_knows_what_a_program_changes_unless_it_is_said() -> None:
    assert provider("").effects == "external"
    assert provider("", effects="none").effects == "none"


def test_the_doctor_finds_the_program() -> None:
    assert [level for level, _ in provider("").check()] == ["ok"]
    missing = CommandProvider("mine", CommandConfig(argv=["no-such-program-at-all"], workspace="/no/such/folder"))
    assert [level for level, _ in missing.check()] == ["error", "error"]
