"""What a JSON Schema becomes for llama.cpp: nothing in it makes llama.cpp print a warning, and nothing is lost."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.llama_cpp.requests import finished_body, for_grammar, grammar_pattern
from lee_llm_router.response import LLMRequest


@pytest.mark.parametrize(
    ("pattern", "known"),
    [
        (r"^[0-9]{4}$", r"^[0-9]{4}$"),
        (r"^\d{4}-\d{2}$", r"^[0-9]{4}-[0-9]{2}$"),
        (r"^[\d.]+$", r"^[0-9.]+$"),
        (r"^\w+$", r"^[a-zA-Z0-9_]+$"),
        (r"^(?:a|b)*$", r"^(?:a|b)*$"),
        (r"^a\.b$", r"^a\.b$"),
        (r"^a\/b\@$", r"^a/b@$"),
        (r"^.$", r'^[^"\\\x00-\x1F]$'),
        (r"^[^a]$", r'^[^a"\\\x00-\x1F]$'),
        (r"^[\/\-\]]$", r"^[/\-\]]$"),
        (r"^\s$", r"^[ ]$"),
        (r'^"$', None),
        (r'^["]$', None),
        (r"^\\$", None),
        (r"^[\\]$", None),
        ("^\n$", None),
        (r"^[a--b]$", None),
        (r"^é$", r"^é$"),
        (r"^$", r"^$"),
        ("abc", None),
        ("^abc", None),
        ("", None),
        ("^", None),
        ("$", None),
        (r"^a$b$", None),
        (r"^(?=a)b$", None),
        (r"^(?P<n>a)$", None),
        (r"^(a)\1$", None),
        (r"^\bword\b$", None),
        (r"^\S+$", None),
        (r"^\D$", None),
        (r"^a{1,5000}$", None),
        (r"^(a$", None),
        (r"^[a$", None),
        (r"^a\$", None),
        (r"^*$", None),
        (r"^a+?$", None),
        ("^" + "(" * 60 + "a" + ")" * 60 + "$", None),
        (r"^a{2}?$", None),
    ],
)
def test_patterns_are_passed_on_in_the_form_that_llama_cpp_knows_or_not_at_all(pattern: str, known: str | None) -> None:
    assert grammar_pattern(pattern) == known


@given(st.from_regex(r"\A\^[a-c\\dws.|()?:*+{}0-9\[\]-]{0,12}\$\Z"), st.text("abc019 ._-", max_size=6))
def test_a_pattern_that_is_passed_on_means_no_less(pattern: str, text: str) -> None:
    """What the form for llama.cpp lets through, the pattern lets through."""
    known = grammar_pattern(pattern)
    if known is not None and re.fullmatch(known, text):
        assert re.fullmatch(pattern, text)


def test_only_what_llama_cpp_makes_no_grammar_of_is_left_out_of_a_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "pattern": "[0-9]"},
            "minLength": {"type": "string", "minLength": 5000, "maxLength": 20},
            "list": {"type": "array", "items": {"pattern": "^a$"}, "maxItems": 100_000},
        },
        "anyOf": [{"const": {"pattern": "x"}}, {"enum": [{"maxLength": 9999}]}],
        "required": ["pattern"],
    }
    assert for_grammar(schema) == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "minLength": {"type": "string", "maxLength": 20},
            "list": {"type": "array", "items": {"pattern": "^a$"}},
        },
        "anyOf": [{"const": {"pattern": "x"}}, {"enum": [{"maxLength": 9999}]}],
        "required": ["pattern"],
    }


def body_for(body: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    request = LLMRequest(messages=(), **asked)
    return finished_body({"model": "m", "messages": [], **(body or {})}, request, {"min_p": 0.1}, hold_to_schema=True)


def test_every_answer_is_asked_for_as_a_stream_that_tells_of_its_progress() -> None:
    """Only a stream can be stopped, and only with progress before its first token."""
    body = body_for()
    assert body["stream"] is True and body["return_progress"] is True
    assert body["min_p"] == 0.1 and "model" not in body


def test_options_that_others_lack_are_passed_on() -> None:
    body = body_for(top_k=40, frequency_penalty=0.5, presence_penalty=0.1, top_logprobs=2, parallel_tool_calls=False)
    assert (body["top_k"], body["frequency_penalty"], body["presence_penalty"]) == (40, 0.5, 0.1)
    assert (body["top_logprobs"], body["logprobs"], body["parallel_tool_calls"]) == (2, True, False)
    assert body_for(reasoning_effort="none")["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("name", ["stream", "return_progress"])
def test_what_decides_how_answers_are_read_cannot_be_set(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        body_for(extra_body={name: False})


def test_what_is_nested_too_deep_is_a_typed_error() -> None:
    tool: Any = {}
    for _ in range(5000):
        tool = {"a": tool}
    with pytest.raises(InvalidRequestError, match="nested"):
        body_for(extra_body={"tools": [tool]})
