"""What the output of a program means: its text, a file or JSON, whole or line by line, and what is no answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.agent_calls import HANG, ask, complete, failure
from helpers.command_support import failing, printing, provider
from lee_llm_router import LLMRouterError
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.command import CommandProvider

pytestmark = pytest.mark.usefixtures("machine")


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
