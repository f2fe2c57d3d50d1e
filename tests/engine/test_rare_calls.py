"""Calls in which something is rare: endless, without a form, of somebody else's, or only just in time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from pydantic_core import core_schema

from helpers.cache_support import cached_router
from helpers.hedged_calls import complete, hedged_router
from helpers.support import END, Pieces, Took, config_for, provider_of, router_for
from lee_llm_router import (
    ContractViolationError,
    InvalidRequestError,
    InvalidResponseError,
    LeeLLMRouter,
    LLMResponse,
    LLMRouterError,
    LLMTimeoutError,
    LLMUsage,
    ProviderError,
    ToolCall,
    tool_of,
)
from lee_llm_router._util.work_limit import WorkLimit
from lee_llm_router.engine.answer_times import AnswerTimes
from lee_llm_router.engine.limits_left import limits_left
from lee_llm_router.engine.schema_check import schema_check_of
from lee_llm_router.engine.token_estimate import request_tokens
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.response import StreamChunk

CALL = ToolCall(id="c1", name="look", arguments='{"at": "it"}')
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture
def quick_checks_never_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check takes too long for an event loop, as that of a long answer does."""
    for module in ("operation", "answer_checks"):
        monkeypatch.setattr(f"lee_llm_router.engine.{module}.quick_limit", lambda: WorkLimit(0))


class Odd:
    """Something of an application's own, which JSON Schema cannot express."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        return core_schema.no_info_plain_validator_function(cls._read)

    @classmethod
    def _read(cls, value: Any) -> Any:
        if value:
            raise ValueError("secret words of the answer")
        return cls()


# Answers that take long to check


@pytest.mark.usefixtures("quick_checks_never_suffice")
def test_an_answer_that_takes_long_to_check_is_the_same_answer() -> None:
    def look(at: str) -> str:
        return at

    answer = LLMResponse(text='{"a": 1}', tool_calls=(CALL,), finish_reason="tool_calls")
    router, _, _ = router_for(config_for({"a": [answer]}, role={"accept": {"must_match": ["a"]}}))
    found = router.complete("r", "hi", schema=SCHEMA, tools=[tool_of(look)])
    assert found.parsed == {"a": 1}
    assert found.tool_calls[0].parsed == {"at": "it"}


@pytest.mark.usefixtures("quick_checks_never_suffice")
def test_a_streamed_answer_does_not_wait_for_a_long_check_before_its_first_output() -> None:
    pieces = Pieces(StreamChunk(text="no", finish_reason="stop"))
    router, _, _ = router_for(config_for({"a": [pieces]}, role={"accept": {"must_match": ["yes"]}}))
    stream = router.stream("r", "hi")
    assert next(stream).text == "no"
    stream.close()


@pytest.mark.usefixtures("quick_checks_never_suffice")
def test_a_kept_answer_that_takes_long_to_check_is_served_all_the_same() -> None:
    with cached_router(text='{"a": 1}') as (router, asked):
        for _ in range(2):
            assert router.complete("r", "hi", schema=SCHEMA).parsed == {"a": 1}
        assert asked.count == 1


def test_an_answer_that_is_too_long_breaks_its_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.engine.json_contract.MAX_CHECKED", 10)
    monkeypatch.setattr("lee_llm_router.engine.acceptance.MAX_JUDGED", 10)
    for options in ({"json_mode": True}, {"accept": {"must_match": ["a"]}}):
        router, _, _ = router_for(config_for({"a": ['"' + "a" * 20 + '"']}, role={"retry": {"attempts": 1}}))
        with pytest.raises(LLMRouterError, match="it is too long to be") as caught:
            router.complete("r", "hi", **options)
        assert caught.value.failure_type in (FailureType.CONTRACT_VIOLATION, FailureType.INVALID_RESPONSE)


@pytest.mark.usefixtures("quick_checks_never_suffice")
def test_a_call_that_is_out_of_time_when_its_answer_comes_is_a_timeout() -> None:
    """Checking it would take longer than the caller has."""
    router, _, _ = router_for(config_for({"a": [Took(5, '{"a": 1}')]}, role={"retry": {"attempts": 1}}))
    with pytest.raises(LLMTimeoutError, match="no time was left to check the answer"):
        router.complete("r", "hi", schema=SCHEMA, timeout=5, deadline=5)


def test_a_type_without_a_json_schema_is_told_by_its_name() -> None:
    """Where the answer does not fit, and where a call is explained; its answers cannot be told from others."""
    router, _, _ = router_for(config_for({"a": ['{"b": 1}']}, role={"retry": {"attempts": 1}}))
    with pytest.raises(ContractViolationError, match="does not fit") as caught:
        router.complete("r", "hi", schema=Odd)
    assert "secret words" not in str(caught.value)
    shown = {setting.name: setting.value for setting in router.explain("r", "hi", schema=Odd).targets[0].settings}
    assert "Odd" in shown["schema"]
    with cached_router(text="{}") as (cached, asked):
        for _ in range(2):
            assert isinstance(cached.complete("r", "hi", schema=Odd).parsed, Odd)
        assert asked.count == 2


# Schemas


@pytest.mark.parametrize(("schema", "said"), [
    ({1: "a"}, "key that is not text"), ({"type": "string", "x": {"deep": float}}, "schema"),
    ({"pattern": "a" * 10_001}, "an invalid pattern"),
    ({"patternProperties": {"^a": {}}, "unevaluatedProperties": False}, "an invalid pattern"),
])  # fmt: skip
def test_what_is_no_schema_that_can_be_checked_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        schema_check_of(schema)


def test_without_the_library_a_schema_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jsonschema.exceptions", None)
    with pytest.raises(InvalidRequestError, match=r"lee-llm-router\[schema\]"):
        schema_check_of({"type": "object", "title": "never seen before"})


@pytest.mark.parametrize(("schema", "value", "fits"), [
    ({"uniqueItems": False}, [1, 1], True), ({"uniqueItems": True}, "no list", True),
    ({"patternProperties": {"^a": {"type": "string"}}}, ["no object"], True),
    ({"patternProperties": {"^a": {"type": "string"}}}, {"a": 1}, False),
    ({"additionalProperties": False}, "no object", True),
    ({"additionalProperties": True, "properties": {"a": {}}}, {"b": 1}, True),
    ({"additionalProperties": {"type": "string"}}, {"b": 1}, False),
])  # fmt: skip
def test_a_rule_binds_the_kind_of_value_that_it_is_about(schema: Any, value: Any, fits: bool) -> None:
    assert (schema_check_of(schema)(value, WorkLimit()) is None) is fits


# What is estimated and heard


def test_a_request_of_any_kind_has_an_estimate() -> None:
    asked = SimpleNamespace(schema={"a": {1, 2}}, tools=[object], max_tokens=0)
    messages: list[Mapping[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
        {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "ü"}, "plain"]},
    ]
    sizes = [
        request_tokens(asked, messages[start:], has_output=has_output)
        for start, has_output in ((0, True), (1, True), (2, False))
    ]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    recursive: list[Any] = []
    recursive.append(recursive)
    assert request_tokens(None, [{"content": None, "tool_calls": recursive}], has_output=False) == 0


def test_of_several_limits_the_one_with_the_least_left_counts() -> None:
    headers = {"x-ratelimit-remaining-requests": "5", "anthropic-ratelimit-requests-remaining": "9",
               "x-ratelimit-remaining-tokens": "100"}  # fmt: skip
    found = limits_left(headers, 0.0)
    assert found is not None and found.requests is not None and found.requests.amount == 5


def test_tokens_of_an_answer_that_broke_its_contract_were_used_too() -> None:
    """The model is told what is wrong with it, which is more to read."""
    usage = LLMUsage(prompt_tokens=10, completion_tokens=10, total_tokens=20)
    broken = LLMResponse(text="no", finish_reason="stop", usage=usage)
    config = config_for({"a": [broken, '{"a": 1}']}, providers={"a": {"tpm": 100_000}})
    router, _, _ = router_for(config)
    assert router.complete("r", "hi", schema=SCHEMA).parsed == {"a": 1}
    said = error_for(FailureType.PROVIDER_ERROR, "cut", response=broken)
    router, _, _ = router_for(config_for({"a": [said, "ok"]}, providers={"a": {"tpm": 100_000}}))
    assert router.complete("r", "hi").text == "ok"


def test_a_percentile_of_all_times_is_the_longest() -> None:
    times = AnswerTimes()
    for _ in range(100):
        times.add(1e9)
    longest = times.percentile(100)
    assert longest is not None and longest >= 60


# What providers give back


class Unreadable(ProviderError):
    """An error of somebody else's, whose parts cannot be read."""

    @property
    def retry_after(self) -> Any:
        raise KeyError("of somebody else's")

    @retry_after.setter
    def retry_after(self, value: Any) -> None:
        pass


class Wordless:
    """An argument of an error, without a text."""

    def __str__(self) -> str:
        raise ValueError("of somebody else's")

    __repr__ = __str__


def test_an_error_without_readable_parts_is_still_a_typed_one() -> None:
    wordless = ProviderError("words")
    wordless.args = (Wordless(),)
    for odd in (wordless, Unreadable("words")):
        router, memory, _ = router_for(config_for({"a": [odd]}, role={"retry": {"attempts": 1}}))
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        assert [record.outcome for record in memory.records] == ["error"]


@pytest.mark.parametrize("answer", [
    LLMResponse(text="ok", finish_reason="stop", tool_calls=None),  # type: ignore[arg-type]
    LLMResponse(text="ok", finish_reason=7, model=["m"]),  # type: ignore[arg-type]
])  # fmt: skip
def test_fields_of_the_wrong_kind_are_no_reason_to_lose_an_answer(answer: LLMResponse) -> None:
    router, memory, _ = router_for(config_for({"a": [answer]}))
    found = router.complete("r", "hi")
    assert (found.text, found.tool_calls) == ("ok", ())
    assert memory.records[0].finish_reason is None or isinstance(memory.records[0].finish_reason, str)


def test_a_chunk_whose_text_is_none_is_no_answer() -> None:
    chunk = StreamChunk(text=b"bytes")  # type: ignore[arg-type]
    router, _, _ = router_for(config_for({"a": [Pieces(chunk, END)]}, role={"retry": {"attempts": 1}}))
    with pytest.raises(InvalidResponseError, match="text of a chunk has the type bytes"):
        list(router.stream("r", "hi"))


def test_embeddings_of_the_wrong_kind_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    router, _, _ = router_for(config_for({"a": ["ok"]}, role={"retry": {"attempts": 1}}))
    provider = provider_of(router, "a")
    monkeypatch.setattr(type(provider), "capabilities", property(lambda self: _embedding()))
    monkeypatch.setattr(type(provider), "embed", lambda *_: [[1.0]])
    with pytest.raises(InvalidResponseError, match="returned list, not an EmbeddingResponse"):
        router.embed("r", ["a"])


def _embedding() -> Any:
    from lee_llm_router.providers.base import Capabilities

    return Capabilities(embeddings=True, bounded=True)


def test_a_message_may_be_any_mapping() -> None:
    router, _, _ = router_for(config_for({"a": ["ok"]}))
    message = MappingProxyType({"role": "user", "content": "hi"})
    assert router.complete("r", [message]).text == "ok"
    assert type(provider_of(router, "a").calls[0].messages[0]) is dict


# Kept answers


def test_a_kept_stream_that_is_left_is_recorded_as_cancelled() -> None:
    with cached_router(text="one two three") as (router, asked):
        list(router.stream("r", "hi"))
        stream = router.stream("r", "hi")
        assert next(stream).text
        stream.close()
        assert asked.count == 1
        assert [record.outcome for record in asked.store.records][-1] == "cancelled"


def test_a_kept_answer_of_every_kind_is_streamed_in_pieces() -> None:
    answer = LLMResponse(text="one two", reasoning="I think", tool_calls=(CALL,), finish_reason="tool_calls")
    config = config_for({"a": [answer]}, role={"cache": {"type": "memory"}})
    router, _, _ = router_for(config)
    router.complete("r", "hi")
    stream = router.stream("r", "hi")
    chunks = list(stream)
    assert stream.response.cached and stream.response.tool_calls == answer.tool_calls
    assert "".join(chunk.text for chunk in chunks) == "one two"
    assert "".join(chunk.reasoning for chunk in chunks) == "I think"


def test_a_failure_is_not_kept_also_where_the_kept_answer_is_not_wanted() -> None:
    with cached_router(role={"retry": {"attempts": 1}}) as (router, asked):
        asked.fails = True
        for no_cache in (False, True):
            with pytest.raises(LLMRouterError):
                router.complete("r", "hi", no_cache=no_cache)
        assert asked.count == 2
        asked.fails = False
        assert not router.complete("r", "hi").cached
        assert router.complete("r", "hi").cached


def test_a_request_that_nobody_can_compare_is_asked_each_time() -> None:
    with cached_router() as (router, asked):
        for _ in range(2):
            router.complete("r", [{"role": "user", "content": "hi", "own": object()}])
        assert asked.count == 2


def test_answers_to_messages_that_a_hook_has_changed_are_kept_under_its_name() -> None:
    def shorter(messages: list[Any]) -> list[Any]:
        return messages[-1:]

    config = {
        "providers": {"p": {"type": "mock", "echo": True}}, "trace": {"enabled": False},
        "roles": {"r": {"provider": "p", "model": "m", "cache": {"type": "memory"}}},
    }  # fmt: skip
    with LeeLLMRouter({"llm": config}, compression=shorter) as router:
        assert [router.complete("r", "hi").cached for _ in range(2)] == [False, True]


def test_only_so_much_is_remembered_of_targets_that_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers may name models without end."""
    monkeypatch.setattr("lee_llm_router.engine.call_cache._MAX_PREFIXES", 2)
    with cached_router() as (router, asked):
        for _ in range(2):
            for number in range(4):
                router.complete("r", "hi", model=f"m{number}")
        assert asked.count == 4


def test_an_answer_of_the_fallback_is_kept_as_its_own() -> None:
    """And where the fallback's must not be kept, it is not."""
    role: dict[str, Any] = {"fallback_providers": [{"provider": "q", "temperature": 1}], "retry": {"attempts": 1}}
    with cached_router(role=role) as (router, asked):
        asked.failing = {"p"}
        for _ in range(2):
            assert not router.complete("r", "hi").cached
        assert asked.by_provider["q"] == 2


# Hedges


def test_only_so_many_times_are_learned_for_hedges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.engine.hedging._MOST_KEPT", 1)
    router = hedged_router({"a": ["a"] * 4, "b": "b"}, hedge={"after": "p90"})
    for number in range(4):
        assert complete(router, model=f"m{number}").text == "a"
    assert len(router._parts.answer_times) == 1
