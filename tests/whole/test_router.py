"""The router's face: roles, overrides, what reaches a provider, what a final error tells, closing."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.support import FakeClock, Memory, Took, config_for, provider_of, router_for
from lee_llm_router import (
    BilledUsage,
    ContractViolationError,
    InvalidRequestError,
    LeeLLMRouter,
    LLMClient,
    LLMConfig,
    LLMResponse,
    LLMRouter,
    LLMRouterError,
    LLMTimeoutError,
    PolicyError,
    ProviderChoice,
    ProviderError,
    RateLimitError,
    RouterClosedError,
    load_config,
)
from lee_llm_router.errors import FailureType, error_for


def test_llm_router_is_the_same_class() -> None:
    assert LLMRouter is LeeLLMRouter


def test_an_answer_names_its_call_and_its_provider() -> None:
    """Text, usage, provider and the id under which the traces stand."""
    router, memory, _ = router_for(config_for({"a": ["hello"]}))
    response = router.complete("r", "hi")
    assert (response.text, response.provider) == ("hello", "a")
    assert response.usage is not None and response.usage.total_tokens == 5
    assert response.request_id == memory.records[0].request_id
    assert memory.records[0].sent and memory.records[0].response_chars == 5


def test_no_role_means_the_default_role() -> None:
    router, memory, _ = router_for(config_for({"a": ["hello"]}))
    assert router.complete(None, "hi").text == "hello"
    assert (memory.records[0].role, memory.records[0].asked_role) == ("r", None)


def test_a_string_is_one_user_message_and_lists_go_as_they_are() -> None:
    """And the caller's list is never changed nor kept."""
    router, _, _ = router_for(config_for({"a": ["ok"]}), compression=lambda messages: messages[-1:])
    mine = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    before = [dict(message) for message in mine]
    router.complete("r", "hello")
    router.complete("r", mine)
    assert mine == before
    calls = provider_of(router, "a").calls
    assert calls[0].messages == ({"role": "user", "content": "hello"},)
    assert calls[1].messages == ({"role": "user", "content": "hi"},)


def test_overrides_role_then_fallback_then_policy_then_call() -> None:
    """The later wins; `extra_body` and `headers` are merged by key; unset is not sent."""

    class Warm:
        def choose(self, role: str, config: Any) -> ProviderChoice:
            return ProviderChoice("a", {"top_p": 0.5, "seed": 2, "extra_body": {"p": 1, "x": "policy"}})

    config = config_for(
        {"a": [error_for(FailureType.AUTH, "no")], "b": ["ok"]},
        role={
            "temperature": 0.1, "top_p": 0.9, "seed": 1, "extra_body": {"r": 1, "x": "role"},
            "fallback_providers": [{"provider": "b", "model": "bm", "temperature": 0.7}],
        },
    )  # fmt: skip
    router, _, _ = router_for(config, policy=Warm())
    router.complete("r", "hi", seed=3, extra_body={"c": 1, "x": "call"})
    a, b = provider_of(router, "a").calls[0], provider_of(router, "b").calls[0]
    assert (a.model, a.temperature, a.top_p, a.seed) == ("m", 0.1, 0.5, 3)
    assert (b.model, b.temperature, b.top_p, b.seed) == ("bm", 0.7, 0.5, 3)
    assert a.extra_body == b.extra_body == {"r": 1, "p": 1, "c": 1, "x": "call"}
    assert a.max_tokens is None and a.stop is None


def test_a_model_of_the_call_reaches_only_targets_without_one_of_their_own() -> None:
    """A fallback that names its model keeps it; one that inherits the role's gets the call's."""
    no = error_for(FailureType.AUTH, "no")
    config = config_for(
        {"a": [no], "b": [no], "c": [no], "d": ["ok"]},
        role={"fallback_providers": [{"provider": "b", "model": "bm"}, "c", "d"]},
        providers={"c": {"model": "cm"}},
    )
    router, memory, _ = router_for(config)
    router.complete("r", "hi", model="asked")
    assert [record.model for record in memory.records] == ["asked", "bm", "cm", "asked"]


def test_timeouts_of_role_fallback_and_call_reach_the_attempt() -> None:
    config = config_for(
        {"a": [error_for(FailureType.UNKNOWN, "no")], "b": ["ok"]},
        role={"timeout": 50, "fallback_providers": [{"provider": "b", "timeout": 20}]},
    )
    router, _, _ = router_for(config)
    router.complete("r", "hi")
    router.complete("r", "hi", timeout=3)
    assert provider_of(router, "a").timeouts == [50, 3]
    assert provider_of(router, "b").timeouts == [20, 3]


def test_a_pydantic_model_as_schema_gives_back_an_instance() -> None:
    class Point(BaseModel):
        x: int

    router, _, _ = router_for(config_for({"a": ['{"x": 4}', '{"x": "four"}']}))
    assert router.complete("r", "hi", schema=Point).parsed == Point(x=4)
    with pytest.raises(ContractViolationError, match=r"does not fit Point\.x") as caught:
        router.complete("r", "hi", schema=Point)
    assert caught.value.response is not None and caught.value.response.text == '{"x": "four"}'


@pytest.mark.parametrize("answer", ["NaN", "", "[1,", "{'a': 1}"])
def test_json_mode_takes_json_only(answer: str) -> None:
    router, memory, _ = router_for(config_for({"a": [answer]}))
    with pytest.raises(ContractViolationError):
        router.complete("r", "hi", json_mode=True)
    assert memory.records[0].usage is not None, "tokens of a broken answer are counted all the same"


def test_a_schema_reference_that_leads_outside_is_not_fetched() -> None:
    """An unresolvable reference is a broken contract, not a request to somewhere."""
    router, _, _ = router_for(config_for({"a": ["1"]}))
    with pytest.raises(ContractViolationError, match="reference"):
        router.complete("r", "hi", schema={"$ref": "http://127.0.0.1:1/schema.json"})


def test_the_final_error_reads_well_and_carries_everything() -> None:
    """Class by the last failure; a line an attempt with target, failure, status and time; the cause kept."""
    config = config_for(
        {
            "a": [Took(0.21, error_for(FailureType.RATE_LIMIT, "slow down", status_code=429, retry_after=60.0))],
            "b": [Took(1.5, error_for(FailureType.PROVIDER_ERROR, "broken pipe", status_code=500))],
        },
        role={"retry": {"attempts": 1}},
    )
    router, _, _ = router_for(config)
    with pytest.raises(ProviderError) as caught:
        router.complete("r", "hi")
    error = caught.value
    assert isinstance(error, LLMRouterError)
    assert (error.provider, error.model, error.status_code) == ("b", "m", 500)
    assert isinstance(error.cause, ProviderError) and error.cause is not error
    lines = str(error).splitlines()
    assert "role 'r' got no answer (2 attempts, 1.71 s): PROVIDER_ERROR 500 at b/m: broken pipe" in lines[0]
    assert "1. a/m  RATE_LIMIT 429  0.21 s  slow down" in lines[1]
    assert "2. b/m  PROVIDER_ERROR 500  1.50 s  broken pipe" in lines[2]


def test_errors_survive_pickling() -> None:
    """A process pool can hand them back whole."""
    router, _, _ = router_for(config_for({"a": [error_for(FailureType.RATE_LIMIT, "no", retry_after=9e4)]}))
    with pytest.raises(RateLimitError) as caught:
        router.complete("r", "hi")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is RateLimitError
    assert str(copy) == str(caught.value)
    assert copy.attempts == caught.value.attempts and copy.retry_after == 9e4


class _QuarterDollar:
    def cost_usd(self, used: BilledUsage) -> float:
        return 0.25


def test_llm_client_is_the_older_face_over_the_same_router() -> None:
    """Also with what its arguments have gained since."""
    client = LLMClient(config_for({"a": ["hello"]}), prices=_QuarterDollar())
    response = client.complete("r", [{"role": "user", "content": "hi"}], temperature=0.5)
    assert (response.text, response.cost_usd) == ("hello", 0.25)
    client.close()
    with pytest.raises(RouterClosedError):
        client.complete("r", "hi")


def test_a_closed_router_says_so_and_closes_its_providers_once() -> None:
    router, memory, _ = router_for(config_for({"a": ["ok"]}))
    with router:
        router.complete("r", "hi")
        provider = provider_of(router, "a")
    router.close()
    assert provider.closed == 1
    with pytest.raises(RouterClosedError):
        router.complete("r", "hi")
    assert len(memory.records) == 1


def test_async_context_manager_closes() -> None:
    async def main() -> int:
        router, _, _ = router_for(config_for({"a": ["ok"]}))
        async with router:
            await router.complete_async("r", "hi")
            provider = provider_of(router, "a")
        await router.aclose()
        with pytest.raises(RouterClosedError):
            await router.complete_async("r", "hi")
        return provider.closed

    assert asyncio.run(main()) == 1


def test_from_file_and_from_path(tmp_path: Any) -> None:
    path = tmp_path / "llm.yaml"
    path.write_text("llm:\n  providers: {m: {type: mock, response_text: from a file}}\n  roles: {r: {provider: m}}\n")
    for router in (
        LeeLLMRouter.from_file(path, trace_store=False),
        LeeLLMRouter(str(path), trace_store=False),
        LeeLLMRouter(load_config(path), trace_store=False),
    ):
        with router:
            assert router.complete("r", "hi").text == "from a file"
            assert router.trace_store is None


def test_provider_overrides_build_a_variant_that_is_kept_and_closed() -> None:
    """A policy may change a provider's settings for a call; equal settings share one instance; few are kept."""

    class Vary:
        def choose(self, role: str, config: Any) -> ProviderChoice:
            return ProviderChoice("a", provider_overrides={"outcomes": [f"answer {next(numbers)}"]})

    numbers = iter([0, 0, *range(1, 40)])
    router, _, _ = router_for(config_for({"a": ["plain"]}), policy=Vary())
    assert [router.complete("r", "hi").text for _ in range(3)] == ["answer 0", "answer 0", "answer 1"]
    variants = router._parts.pool._variants
    assert len(variants) == 2
    first = next(iter(variants.values())).provider
    for _ in range(30):
        router.complete("r", "hi")
    assert len(variants) <= 16
    assert first.closed == 1  # type: ignore[attr-defined]
    router.close()


def test_wrong_provider_overrides_are_a_skip_that_names_the_setting() -> None:
    class Wrong:
        def choose(self, role: str, config: Any) -> ProviderChoice:
            return ProviderChoice("a", provider_overrides={"colour": "s3cret-value"})

    router, memory, _ = router_for(config_for({"a": ["no"], "b": ["yes"]}), policy=Wrong())
    assert router.complete("r", "hi").text == "yes"
    assert memory.records[0].outcome == "skipped"
    assert "colour" in (memory.records[0].error or "") and "s3cret" not in (memory.records[0].error or "")


@pytest.mark.parametrize(
    ("choose", "says"),
    [
        (lambda role, config: 1 / 0, "ZeroDivisionError"),
        (lambda role, config: "a", "not a ProviderChoice"),
        (lambda role, config: ProviderChoice("zzz"), "'zzz'"),
        (lambda role, config: ProviderChoice("a", {"temprature": 1}), "temperature"),
    ],
)
def test_a_broken_policy_is_a_typed_error_with_a_record(choose: Any, says: str) -> None:
    policy = type("Broken", (), {"choose": staticmethod(choose)})()
    router, memory, _ = router_for(config_for({"a": ["no"]}), policy=policy)
    with pytest.raises(PolicyError, match=says) as caught:
        router.complete("r", "hi")
    assert caught.value.request_id == memory.records[0].request_id
    assert memory.records[0].attempt is None and memory.records[0].outcome == "error"


def test_options_are_checked_with_a_suggestion() -> None:
    router, _, _ = router_for(config_for({"a": ["no"]}))
    with pytest.raises(InvalidRequestError, match=r"temprature: no such option \(did you mean temperature\?\)"):
        router.complete("r", "hi", temprature=1)  # type: ignore[call-overload]
    with pytest.raises(InvalidRequestError, match="timeout"):
        router.complete("r", "hi", timeout=-1)
    assert provider_of(router, "a").calls == []


def test_sixty_four_threads_share_one_router() -> None:
    """Every call whole, every record there, each provider built once."""
    router, memory, _ = router_for(config_for({"a": ["ok"]}), event_sink=())
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                assert router.complete("r", "hi").text == "ok"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(memory.records) == len({record.request_id for record in memory.records}) == 64 * 20


def test_a_response_repr_hides_the_raw_answer() -> None:
    assert "raw" not in repr(LLMResponse(text="t", raw={"key": "k"}))


def test_resolve_shows_the_chain_without_asking_anyone() -> None:
    router, _, _ = router_for(config_for({"a": ["no"], "b": ["no"]}))
    assert [target.key for target in router.resolve("r", model="x", deadline=3, metadata={"k": 1})] == [
        ("a", "x"),
        ("b", "x"),
    ]
    assert provider_of(router, "a").calls == []


def test_an_error_object_raised_twice_is_never_blamed_on_the_wrong_target() -> None:
    """A provider may raise one object for many calls; what the router learns goes into copies."""
    shared = error_for(FailureType.AUTH, "no")
    router, memory, _ = router_for(config_for({"a": [shared], "b": [shared]}))
    with pytest.raises(LLMRouterError) as caught:
        router.complete("r", "hi")
    assert [record.provider for record in memory.records] == ["a", "b"]
    assert caught.value.provider == "b" and shared.provider is None


@pytest.mark.parametrize("slow", ["policy", "compression"])
def test_no_attempt_starts_once_the_deadline_has_passed_on_the_way_to_it(slow: str) -> None:
    """A policy or a compression hook that takes its time ends the call, and is not held against the target."""
    clock = FakeClock()

    class Policy:
        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            clock.sleep(3 if slow == "policy" else 0)
            return ProviderChoice("a")

    def compress(messages: list[Any]) -> list[Any]:
        clock.sleep(3 if slow == "compression" else 0)
        return messages

    memory = Memory()
    config = config_for({"a": ["too late"]}, {"deadline": 2})
    router = LeeLLMRouter(config, policy=Policy(), compression=compress, trace_store=memory, clock=clock)
    with pytest.raises(LLMTimeoutError) as raised:
        router.complete("r", "hi")
    assert [(record.attempt, record.failure_type) for record in memory.records] == [(None, "TIMEOUT")]
    assert raised.value.attempts == tuple(memory.records)
    assert provider_of(router, "a").calls == []
    assert all(health.failures == health.in_flight == 0 for health in router.health().values())


def test_an_answer_that_cannot_be_handed_on_is_a_traced_failure() -> None:
    """A provider may give back a class of its own, and that may be broken."""

    class Odd(LLMResponse):
        def __init__(self, said: str) -> None:
            super().__init__(text=said)

    router, memory, _ = router_for(config_for({"a": [Odd("hello")], "b": ["whole"]}))
    assert router.complete("r", "hi").text == "whole"
    assert [(record.provider, record.outcome) for record in memory.records] == [("a", "error"), ("b", "ok")]


def test_a_backoff_shorter_than_the_work_around_it_is_still_a_retry() -> None:
    """Full jitter draws waits next to nothing; that time passes on the way must not look like an open breaker."""

    class Running(FakeClock):
        def monotonic(self) -> float:
            self.sleep(1e-6)
            return super().monotonic()

    memory = Memory()
    config = config_for({"a": [ProviderError("again"), ProviderError("again"), "at last"]})
    router = LeeLLMRouter(config, trace_store=memory, clock=Running(), random=lambda: 1e-7)
    assert router.complete("r", "hi").text == "at last"
    assert [record.verdict for record in memory.records] == ["retry", "retry", "return"]
