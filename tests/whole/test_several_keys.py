"""Several keys of one provider: each is asked in its turn, and what keeps one away leaves the others to serve."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from helpers.key_server import KEYS, NAMES, OK, Answer, KeyServer, refusal, routed
from helpers.servers import Received, json_answer
from lee_llm_router import (
    AuthenticationError,
    ConfigError,
    LeeLLMRouter,
    LLMRouterError,
    ProviderChoice,
)
from lee_llm_router.config import load_config
from lee_llm_router.errors import FailureType
from lee_llm_router.health import KeyedTarget, Permit

pytestmark = pytest.mark.usefixtures("several_keys")


def _streamed(router: LeeLLMRouter) -> str:
    return "".join(chunk.text for chunk in router.stream("r", "hi"))


def _streamed_async(router: LeeLLMRouter) -> str:
    async def main() -> str:
        return "".join([chunk.text async for chunk in router.stream_async("r", "hi")])

    return asyncio.run(main())


WAYS: dict[str, Callable[[LeeLLMRouter], str]] = {
    "complete": lambda router: router.complete("r", "hi").text,
    "complete, async": lambda router: asyncio.run(router.complete_async("r", "hi")).text,
    "stream": _streamed,
    "stream, async": _streamed_async,
}
REFUSALS = {
    "401": refusal(401), "402": refusal(402), "429": refusal(429), "429 for 30 s": refusal(429, Retry_After="30"),
    "429 for good": refusal(429, "insufficient_quota"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_calls_are_spread_evenly_and_the_trace_names_the_variable(way: str) -> None:
    """In every form; no key stands in a record or in the health."""
    with KeyServer() as server, routed(server) as (router, memory, _):
        assert [WAYS[way](router) for _ in range(9)] == ["hello"] * 9
        assert Counter(server.asked) == dict.fromkeys(KEYS, 3)
        assert [record.key_variable for record in memory.records] == server.asked
        assert not any(secret in repr(memory.records) + repr(router.health()) for secret in NAMES)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("refused", REFUSALS)
def test_a_key_that_is_refused_rests_and_the_others_serve_at_once(way: str, refused: str) -> None:
    """One call is refused by it, and has its answer without a wait; those after it do not ask it, and do not say so."""
    with KeyServer({"KEY_A": REFUSALS[refused]}) as server, routed(server) as (router, memory, clock):
        assert [WAYS[way](router) for _ in range(9)] == ["hello"] * 9
        assert [(r.key_variable, r.outcome) for r in memory.records[:2]] == [("KEY_A", "error"), ("KEY_B", "ok")]
        assert server.asked.count("KEY_A") == 1 and len(memory.records) == 10
        assert clock.sleeps == []


def test_what_one_key_cannot_take_is_shared_by_the_others() -> None:
    with KeyServer({"KEY_A": refusal(401)}) as server, routed(server) as (router, _, _):
        for _ in range(1 + 18):
            router.complete("r", "hi")
        counts = Counter(server.asked)
        assert counts["KEY_A"] == 1 and abs(counts["KEY_B"] - counts["KEY_C"]) <= 2, counts


def test_limits_are_those_of_each_key() -> None:
    """rpm, tpm and max_concurrency: three keys have three times as much; then the call waits for the first free one."""
    with KeyServer() as server, routed(server, rpm=2) as (router, memory, clock):
        for _ in range(6):
            router.complete("r", "hi")
        assert clock.sleeps == [] and Counter(server.asked) == dict.fromkeys(KEYS, 2)
        router.complete("r", "hi")
        assert clock.sleeps == [60] and "limit" in (memory.records[-1].waited_for or "")
    with KeyServer() as server, routed(server, tpm=1000) as (router, _, clock):
        for _ in range(3):
            router.complete("r", "hi", max_tokens=900)
        router.complete("r", "hi", max_tokens=985)
        assert clock.sleeps == []
        router.complete("r", "hi", max_tokens=995)
        assert clock.sleeps == [60]
    with KeyServer() as server, routed(server, max_concurrency=1) as (router, _, _):
        for name in ("KEY_A", "KEY_B"):
            assert isinstance(router._parts.health.acquire(KeyedTarget("k", "m", name)), Permit)
        for _ in range(4):
            router.complete("r", "hi")
        assert set(server.asked) == {"KEY_C"}


@pytest.mark.parametrize(("status", "times"), [(400, 1), (404, 1), (413, 1), (500, 3)])
def test_what_is_not_for_the_key_is_not_repeated_with_each(status: int, times: int) -> None:
    """A request that is wrong, a model that is not there, a server that is down: as with one key."""
    answers = dict.fromkeys(KEYS, refusal(status))
    with KeyServer(answers) as server, routed(server) as (router, _, _), pytest.raises(LLMRouterError):
        try:
            router.complete("r", "hi")
        finally:
            assert len(server.asked) == times and len(set(server.asked)) == 1


def test_a_fallback_is_reached_whatever_the_keys_do() -> None:
    """Refused by each key, or failed at one of them: the next target of the chain serves, within max_attempts."""
    backup = {"b": {"type": "mock", "model": "mm", "response_text": "backup"}}
    by_key, by_server = (refusal(429), refusal(401)), (refusal(503, Retry_After="20"), refusal(404))
    for refused in (*by_key, *by_server):
        answers = dict.fromkeys(KEYS, refused)
        with KeyServer(answers) as server, routed(server, others=backup, role={"retry": {"max_attempts": 2}}) as (
            router, memory, clock,
        ):  # fmt: skip
            assert router.complete("r", "hi").text == "backup"
            assert len(server.asked) == (3 if refused in by_key else 1) and clock.sleeps == []
            assert memory.records[-1].key_variable is None


def test_when_every_key_is_at_a_limit_the_call_waits_for_the_first_that_opens() -> None:
    answers = {name: refusal(429, Retry_After=str(wait)) for name, wait in zip(KEYS, (50, 20, 70), strict=True)}
    with KeyServer(answers) as server, routed(server) as (router, memory, clock):
        server.answers["KEY_B"] = iter_answers(answers["KEY_B"], OK)
        assert router.complete("r", "hi").text == "hello"
        assert clock.sleeps == [20] and memory.records[-1].key_variable == "KEY_B"


def iter_answers(*answers: Answer) -> Callable[[Received], bytes]:
    left = list(answers)

    def answer(received: Received) -> bytes:
        now = left.pop(0) if len(left) > 1 else left[0]
        return now if isinstance(now, bytes) else now(received)

    return answer


def test_a_key_that_is_not_set_is_passed_over_and_an_error_names_all_if_none_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is looked at anew for each call."""
    monkeypatch.delenv("KEY_A")
    monkeypatch.setenv("KEY_B", "  ")
    with KeyServer() as server, routed(server) as (router, memory, _):
        for _ in range(3):
            router.complete("r", "hi")
        assert set(server.asked) == {"KEY_C"} and {r.outcome for r in memory.records} == {"ok"}
        monkeypatch.delenv("KEY_C")
        with pytest.raises(AuthenticationError, match=r"KEY_A is not set, nor is KEY_B, nor is KEY_C"):
            router.complete("r", "hi")
        monkeypatch.setenv("KEY_A", KEYS["KEY_A"])
        router.reset_health()
        router.complete("r", "hi")
        assert server.asked[-1] == "KEY_A"


def test_embeddings_are_spread_too() -> None:
    vectors = json_answer({"data": [{"index": 0, "embedding": [1.0]}], "model": "m", "usage": {"prompt_tokens": 1}})
    answers = {**dict.fromkeys(KEYS, vectors), "KEY_B": refusal(429)}
    with KeyServer(answers) as server, routed(server) as (router, _, _):
        for _ in range(3):
            assert router.embed("r", ["hi"]).vectors == ((1.0,),)

        async def main() -> None:
            assert (await router.embed_async("r", ["hi"])).vectors == ((1.0,),)

        asyncio.run(main())
        assert Counter(server.asked)["KEY_B"] == 1


def test_a_list_of_one_is_as_the_name_alone_and_what_a_policy_names_holds() -> None:
    class Chooses:
        def choose(self, role: str, config: Any) -> ProviderChoice:
            return ProviderChoice("k", provider_overrides={"api_key_env": "KEY_C"})

    with KeyServer() as server:
        with routed(server, api_key_env=["KEY_B"]) as (router, memory, _):
            router.complete("r", "hi")
            assert (server.asked, memory.records[0].key_variable) == (["KEY_B"], None)
            config = router.config
        assert config.providers["k"].api_key_env == "KEY_B"  # type: ignore[attr-defined]
        with (
            routed(server) as (router, _, _),
            LeeLLMRouter(router.config, policy=Chooses(), trace_store=False) as other,
        ):
            for _ in range(3):
                other.complete("r", "hi")
        assert server.asked[1:] == ["KEY_C"] * 3


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "the names of 1 to 100 variables"),
        (["A", "A"], "a variable may be named only once"),
        (["A", "sk-abcdefghijklmnopqrstuvwxyz012345"], "never"),
        (["A", "b c"], "the name of an environment variable is wanted"),
        (["A", 5], "text is wanted"),
        ({"A": 1}, "text is wanted"),
    ],
)
def test_a_wrong_list_is_a_finding_that_echoes_no_key(names: Any, problem: str) -> None:
    provider = {"type": "http", "base_url": "http://127.0.0.1:1/v1", "api_key_env": names}
    with pytest.raises(ConfigError, match=problem) as caught:
        load_config({"llm": {"providers": {"k": provider}, "roles": {"r": {"provider": "k", "model": "m"}}}})
    assert "abcdefgh" not in str(caught.value) and "api_key_env" in str(caught.value)


def test_no_attempt_with_effects_is_followed_by_another_key() -> None:
    """Only providers of HTTP APIs have several keys; an agent's settings say so."""
    with pytest.raises(ConfigError, match="api_key_env"):
        load_config({"llm": {
            "providers": {"k": {"type": "claude_cli", "api_key_env": ["A", "B"]}}, "roles": {"r": {"provider": "k"}},
        }})  # fmt: skip


@pytest.mark.parametrize("way", ["complete, async", "stream, async"])
def test_a_call_that_waits_is_served_by_whichever_key_is_free_first(way: str) -> None:
    """Two keys are shut by the vendor for a while, one is busy: the call does not wait out the vendor's time."""
    with KeyServer() as server, routed(server, max_concurrency=1) as (router, _, clock):
        health = router._parts.health
        a, b, c = (health.acquire(KeyedTarget("k", "m", name)) for name in KEYS)
        assert isinstance(a, Permit) and isinstance(b, Permit) and isinstance(c, Permit)
        health.release(b, FailureType.RATE_LIMIT, close_gate_for=50)
        health.release(c, FailureType.RATE_LIMIT, close_gate_for=70)
        start = clock.now

        async def ask() -> str:
            if way == "complete, async":
                return (await router.complete_async("r", "hi")).text
            return "".join([chunk.text async for chunk in router.stream_async("r", "hi")])

        async def main() -> str:
            call = asyncio.ensure_future(ask())
            await clock.sleep_async(5)
            health.release(a)
            return await call

        assert asyncio.run(main()) == "hello"
        assert clock.now - start < 6 and server.asked == ["KEY_A"]
        assert (router.health()["k", "m"].waiting, router.health()["k", "m"].in_flight) == (0, 0)
