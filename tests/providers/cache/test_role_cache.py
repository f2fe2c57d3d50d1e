"""The cache of a role: what is answered without asking, what is not, and what a caller sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from helpers.cache_support import cached_router
from lee_llm_router import LeeLLMRouter
from lee_llm_router.errors import ConfigError, LLMRouterError


def test_an_equal_request_is_answered_without_asking() -> None:
    with cached_router() as (router, asked):
        first = router.complete("r", "hi")
        again = router.complete("r", "hi")
        assert (first.cached, again.cached) == (False, True)
        assert again.text == first.text == "1: hi"
        assert again.cost_usd == 0
        assert asked.count == 1


@pytest.mark.parametrize(
    "other",
    [
        {"messages": "ho"},
        {"model": "other"},
        {"max_tokens": 3},
        {"seed": 4},
        {"stop": ["x"]},
        {"extra_body": {"n": 2}},
        {"json_mode": True},
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]},
    ],
)
def test_what_asks_for_something_else_is_asked(other: Mapping[str, Any]) -> None:
    with cached_router(text="{}") as (router, asked):
        router.complete("r", "hi")
        options = dict(other)
        assert not router.complete("r", options.pop("messages", "hi"), **options).cached
        assert asked.count == 2


@pytest.mark.parametrize("other", [{"timeout": 3}, {"deadline": 9}, {"metadata": {"a": 1}}])
def test_what_changes_nothing_of_the_answer_does_not_matter(other: Mapping[str, Any]) -> None:
    with cached_router() as (router, _):
        router.complete("r", "hi")
        assert router.complete("r", "hi", **other).cached


def test_the_order_of_names_in_a_message_does_not_matter() -> None:
    with cached_router() as (router, _):
        router.complete("r", [{"role": "user", "content": "hi"}])
        assert router.complete("r", [{"content": "hi", "role": "user"}]).cached


def test_an_answer_grows_too_old() -> None:
    with cached_router(cache={"type": "memory", "ttl": "10m"}) as (router, asked):
        router.complete("r", "hi")
        asked.clock.advance(599)
        assert router.complete("r", "hi").cached
        asked.clock.advance(2)
        assert not router.complete("r", "hi").cached


def test_no_cache_asks_anew_and_keeps_what_comes() -> None:
    with cached_router() as (router, asked):
        router.complete("r", "hi")
        assert router.complete("r", "hi", no_cache=True).text == "2: hi"
        assert router.complete("r", "hi").text == "2: hi"
        assert asked.count == 2


@pytest.mark.parametrize(("temperature", "kept"), [(0, True), (0.1, False), (None, True)])
def test_a_temperature_above_0_is_asked_anew(temperature: float | None, kept: bool) -> None:
    with cached_router() as (router, _):
        options: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        router.complete("r", "hi", **options)
        assert router.complete("r", "hi", **options).cached is kept


def test_a_temperature_above_0_is_kept_if_asked_for() -> None:
    with cached_router(cache={"type": "memory", "any_temperature": True}) as (router, _):
        router.complete("r", "hi", temperature=1)
        assert router.complete("r", "hi", temperature=1).cached


def test_effects_are_never_kept() -> None:
    with cached_router(effects="external") as (router, asked):
        router.complete("r", "hi")
        assert not router.complete("r", "hi").cached
        assert asked.count == 2


def test_a_tool_that_changes_something_is_never_kept() -> None:
    tool = {"type": "function", "function": {"name": "send_mail", "parameters": {"type": "object"}}}
    with cached_router(cache={"type": "memory", "except_tools": ["send_mail"]}) as (router, _):
        router.complete("r", "hi", tools=[tool])
        assert not router.complete("r", "hi", tools=[tool]).cached
        other = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
        router.complete("r", "hi", tools=[other])
        assert router.complete("r", "hi", tools=[other]).cached


def test_a_function_that_changes_something_is_never_kept() -> None:
    def pay(amount: int) -> None:
        """Pay."""

    def look(at: int) -> None:
        """Look."""

    pay.has_effects = True  # type: ignore[attr-defined]
    with cached_router() as (router, _):
        for tool in (pay, look):
            router.complete("r", "hi", tools=[tool])
        assert not router.complete("r", "hi", tools=[pay]).cached
        assert router.complete("r", "hi", tools=[look]).cached


def test_a_hit_is_traced_and_costs_nothing() -> None:
    with cached_router() as (router, asked):
        router.complete("r", "hi")
        router.complete("r", "hi")
        asking, hit = asked.store.records
        assert (asking.cached, hit.cached) == (False, True)
        assert (hit.attempt, hit.sent, hit.outcome, hit.cost_usd, hit.usage) == (None, False, "ok", 0.0, None)
        assert (hit.provider, hit.model, hit.provider_type) == (asking.provider, asking.model, asking.provider_type)


def test_a_hit_needs_no_permit_of_a_target_that_is_shut() -> None:
    with cached_router(health={"failures_in_a_row": 1}) as (router, asked):
        router.complete("r", "hi")
        asked.fails = True
        with pytest.raises(LLMRouterError):
            router.complete("r", "ho", deadline=1)
        before = router.health()
        assert router.complete("r", "hi").cached
        assert router.health() == before


def test_a_failure_is_not_kept() -> None:
    with cached_router(role={"retry": {"attempts": 1, "patience": 0}}) as (router, asked):
        asked.fails = True
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        asked.fails = False
        router.reset_health()
        assert not router.complete("r", "hi").cached


def test_an_answer_that_breaks_its_contract_is_not_kept() -> None:
    with cached_router(text="no json", role={"contract": {"repair": 0}, "retry": {"attempts": 1}}) as (router, asked):
        for _ in range(2):
            with pytest.raises(LLMRouterError):
                router.complete("r", "hi", json_mode=True)
        assert asked.count == 2


def test_a_kept_answer_is_parsed_as_the_first_was() -> None:
    with cached_router(text='{"a": 1}') as (router, _):
        first, again = (router.complete("r", "hi", schema=dict[str, int]) for _ in range(2))
        assert again.cached
        assert again.parsed == first.parsed == {"a": 1}


def test_what_another_role_does_not_accept_it_asks_anew() -> None:
    roles = {"strict": {"provider": "p", "model": "m", "accept": {"min_chars": 100}, "retry": {"attempts": 1}}}
    with cached_router(roles=roles, file_wide=True) as (router, asked):
        router.complete("r", "hi")
        with pytest.raises(LLMRouterError):
            router.complete("strict", "hi")
        assert asked.count == 2


def test_roles_share_what_the_file_keeps_and_one_may_have_no_cache() -> None:
    roles = {"other": {"provider": "p", "model": "m"}, "none": {"provider": "p", "model": "m", "cache": False}}
    with cached_router(roles=roles, file_wide=True) as (router, _):
        router.complete("r", "hi")
        assert router.complete("other", "hi").cached
        assert not router.complete("none", "hi").cached


def test_a_fallback_that_answered_before_is_not_asked_again() -> None:
    with cached_router(
        role={"fallback_providers": [{"provider": "q", "model": "other"}], "retry": {"attempts": 1}}
    ) as (router, asked):
        asked.failing = {"p"}
        first = router.complete("r", "hi")
        again = router.complete("r", "hi")
        assert (first.provider, again.provider) == ("q", "q")
        assert again.cached
        assert asked.by_provider["q"] == 1
        asked.failing = set()
        router.reset_health()
        assert router.complete("r", "hi").provider == "p"


def test_a_caller_cannot_change_what_is_kept() -> None:
    with cached_router() as (router, _):
        router.complete("r", "hi").raw["a"].append(2)
        router.complete("r", "hi").raw["a"].append(3)
        assert router.complete("r", "hi").raw == {"a": [1]}


def test_a_stream_is_replayed_and_equal_to_the_whole() -> None:
    with cached_router(text="one two three " * 20) as (router, asked):
        whole = router.complete("r", "hi")
        with router.stream("r", "hi") as stream:
            chunks = list(stream)
        assert asked.count == 1
        assert len(chunks) > 3
        assert "".join(chunk.text for chunk in chunks) == whole.text
        assert stream.response is not None
        assert stream.response.cached
        assert [chunk.index for chunk in chunks] == list(range(len(chunks)))


def test_what_was_streamed_is_kept() -> None:
    with cached_router() as (router, asked):
        with router.stream("r", "hi") as stream:
            list(stream)
        assert router.complete("r", "hi").cached
        assert asked.count == 1


def test_a_stream_left_early_keeps_nothing() -> None:
    with cached_router() as (router, _):
        with router.stream("r", "hi") as stream:
            next(iter(stream))
        assert not router.complete("r", "hi").cached


def test_embeddings_are_kept() -> None:
    with cached_router() as (router, _):
        first, again = router.embed("r", ["a", "b"]), router.embed("r", ["a", "b"])
        assert again.cached
        assert again.vectors == first.vectors
        assert not router.embed("r", ["a"]).cached


def test_the_async_calls_share_it() -> None:
    async def ask(router: LeeLLMRouter) -> bool:
        streamed = router.stream_async("r", "hi")
        async with streamed as stream:
            [chunk async for chunk in stream]
        assert streamed.response is not None
        return (await router.complete_async("r", "hi")).cached and streamed.response.cached

    with cached_router() as (router, asked):
        router.complete("r", "hi")
        assert asyncio.run(ask(router))
        assert asked.count == 1


def test_a_cache_can_be_cleared() -> None:
    with cached_router() as (router, _):
        router.complete("r", "hi")
        router.complete("r", "ho")
        assert router.clear_cache() == 2
        assert not router.complete("r", "hi").cached


def test_little_room_keeps_the_answers_used_last() -> None:
    with cached_router(cache={"type": "memory", "max_mb": 0.0015}) as (router, _):
        for word in "abcdefgh":
            router.complete("r", word)
        assert router.complete("r", "h").cached
        assert not router.complete("r", "a").cached


@pytest.mark.parametrize(
    "cache",
    [
        {"type": "memory", "path": "x"},
        {"type": "redis", "max_mb": 1},
        {"type": "sqlite", "url": "redis://x"},
        {"type": "memory", "ttl": "1 fortnight"},
        {"type": "memory", "ttl": 0},
        {"type": "disk"},
    ],
)
def test_a_mistake_in_the_section_is_a_finding(cache: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cache"), cached_router(cache=cache):
        pass


@pytest.mark.parametrize(
    ("change", "is_equal"),
    [
        ({"base_url": "http://127.0.0.1:2/v1"}, False),
        ({"query": {"v": "2"}}, False),
        ({"extra_body": {"a": 1}}, False),
        ({"headers": {"x-variant": "2"}}, False),
        ({"api_key_env": "OTHER_KEY"}, True),
        ({"headers": {"x-api-key": "${OTHER_KEY}"}}, True),
        ({"query": {"api-key": "${OTHER_KEY}", "v": "1"}}, True),
        ({"rpm": 100, "max_concurrency": 3, "transport": "httpx"}, True),
    ],
)
def test_settings_that_reach_the_vendor_matter_and_keys_do_not(
    change: Mapping[str, Any], is_equal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "k-1234567890")
    monkeypatch.setenv("SOME_KEY", "k-0987654321")
    base = {
        "type": "http",
        "base_url": "http://127.0.0.1:1/v1",
        "api_key_env": "SOME_KEY",
        "headers": {"x-api-key": "${SOME_KEY}"},
        "query": {"api-key": "${SOME_KEY}", "v": "1"},
    }
    keys = []
    for provider in (base, {**base, **change}):
        roles = {"r": {"provider": "p", "model": "m", "cache": {"type": "memory"}}}
        with LeeLLMRouter(
            {"llm": {"providers": {"p": provider}, "roles": roles, "trace": {"enabled": False}}}
        ) as router:
            plan = router._assembly.planner.plan("r", "hi", {})
            cache, form = plan.role_settings.cache, plan.operation.answer_form()
            assert cache is not None
            assert form is not None
            keys.append(cache.key(plan, router._parts, form, plan.targets[0]))
    assert keys[0] is not None
    assert (keys[0] == keys[1]) is is_equal
