"""A kept answer is the answer: all that it says comes back, and what is no answer counts as missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from helpers.cache_support import cached_router
from helpers.drawn_examples import examples
from lee_llm_router import AnswerDetails, Citation, LLMResponse, LLMUsage, NativeTurn, TokenLogprob, ToolCall
from lee_llm_router.providers.cache.answer_data import details_data, details_of
from lee_llm_router.providers.cache.contract import KeptValue
from lee_llm_router.providers.cache.forms import COMPLETION_FORM, EMBEDDING_FORM
from lee_llm_router.providers.cassette.exchanges import answer_entry, answer_in
from lee_llm_router.providers.embeddings import EmbeddingResponse

WHOLE = LLMResponse(
    text="Hé\n",
    tool_calls=(ToolCall(id="1", name="look", arguments='{"a": 1}'), ToolCall(id="2", name="see", arguments="{broken")),
    reasoning="because",
    finish_reason="tool_calls",
    usage=LLMUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3, cached_tokens=1, reasoning_tokens=0),
    model="m-1",
    raw={"choices": [{"x": None}]},
    details=AnswerDetails(
        id="id-1",
        parts=({"type": "text", "text": "Hé"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}),
        citations=(Citation(url="https://a.example", title="A", start=1, end=2), Citation(quote="q")),
        logprobs=(TokenLogprob(token="H", logprob=-0.5, top=(("H", -0.5), ("h", -1.25))),),
        service_tier="flex",
        finish_reason="end_turn",
        native=NativeTurn(dialect="anthropic", origin="host/m", content=[{"type": "thinking", "signature": "s"}]),
    ),
)


def test_all_that_an_answer_says_comes_back() -> None:
    kept = COMPLETION_FORM.load(COMPLETION_FORM.dump(WHOLE))
    assert kept == replace(WHOLE, cached=True, cost_usd=0.0)
    assert kept.raw == WHOLE.raw
    assert details_of(details_data(WHOLE.details)) == WHOLE.details


def test_a_recorded_answer_comes_back_with_its_cost() -> None:
    answer = replace(WHOLE, cost_usd=0.25)
    assert answer_in(answer_entry(answer, with_raw=True)) == answer


def test_an_answer_that_json_cannot_hold_is_not_kept_but_given() -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        COMPLETION_FORM.dump(replace(WHOLE, text="\ud800"))
    assert COMPLETION_FORM.load(COMPLETION_FORM.dump(replace(WHOLE, raw=object()))).raw is None
    with cached_router(text="\ud800") as (router, asked):
        assert [router.complete("r", "hi").text for _ in range(2)] == ["\ud800"] * 2
        assert asked.count == 2


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ["text", "tool_calls", "reasoning", "finish_reason", "model", "usage", "details", "vectors"]


@settings(max_examples=examples(150))
@given(
    st.dictionaries(st.sampled_from(_NAMES), _JSON),
    st.dictionaries(st.sampled_from(list(details_data(WHOLE.details))), _JSON),
)
def test_what_is_no_answer_is_a_value_error(data: dict[str, Any], details: dict[str, Any]) -> None:
    for found in (data, {**data, "details": details}):
        head = to_json({**found, "v": 1})
        for form, kind in ((COMPLETION_FORM, LLMResponse), (EMBEDDING_FORM, EmbeddingResponse)):
            try:
                assert isinstance(form.load(head), kind)
            except ValueError:
                continue


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'{"v":2,"text":"x"}', b'{"v":1,"text":7}', b'{"v":1,"text":""}\n{']
)
def test_what_somebody_else_has_put_there_is_asked_anew(value: bytes) -> None:
    with cached_router(text="right") as (router, _):
        router.complete("r", "hi")
        (cache,) = router._assembly._caches._caches.values()  # type: ignore[union-attr]
        (key,) = cache.store._entries  # type: ignore[union-attr]
        cache.store.keep([KeptValue(key, value, 60)])
        answer = router.complete("r", "hi")
        assert answer.text in ("right", "")
        assert answer.text == "right" or (answer.cached and answer.raw is None)
