"""Policies: what they may choose, what they are shown, how they are found."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.support import config_for, provider_of, router_for
from lee_llm_router import (
    ConfigError,
    LLMConfig,
    ProviderChoice,
    QuotaExceededError,
    RoutingContext,
    RoutingPolicy,
    SimpleRoutingPolicy,
    TraceRecord,
)
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.policy import load_policy

NO = error_for(FailureType.AUTH, "no")


class Fixed:
    """Chooses what it was built with."""

    def __init__(self, choice: ProviderChoice) -> None:
        self.choice = choice

    def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
        return self.choice


def _models_asked(choice: ProviderChoice, **role: Any) -> list[tuple[str | None, str | None]]:
    config = config_for({"a": [NO], "b": [NO], "c": [NO]}, role=role)
    router, memory, _ = router_for(config, policy=Fixed(choice))
    with pytest.raises(Exception, match="no answer"):
        router.complete("r", "hi")
    return [(record.provider, record.model) for record in memory.records]


def test_the_simple_policy_follows_the_file() -> None:
    assert isinstance(SimpleRoutingPolicy(), RoutingPolicy)
    assert _models_asked(ProviderChoice("a")) == [("a", "m"), ("b", "m"), ("c", "m")]


def test_without_fallbacks_of_its_own_a_choice_keeps_the_roles_chain() -> None:
    """The chosen one first, then everyone else of the chain, nobody twice."""
    assert _models_asked(ProviderChoice("b")) == [("b", "m"), ("a", "m"), ("c", "m")]


def test_a_model_chosen_for_one_target_stays_with_it() -> None:
    assert _models_asked(ProviderChoice("a", {"model": "x"}))[:3] == [("a", "x"), ("a", "m"), ("b", "m")]


def test_fallbacks_of_a_choice_replace_the_roles() -> None:
    """Names or choices; an empty list means none."""
    choice = ProviderChoice("c", fallbacks=["b", ProviderChoice("a", {"model": "y"})])
    assert _models_asked(choice) == [("c", "m"), ("b", "m"), ("a", "y")]
    assert _models_asked(ProviderChoice("c", fallbacks=[])) == [("c", "m")]


def test_a_policy_with_a_context_sees_request_metadata_and_health() -> None:
    """Looked at once, when the router is built; what is known of a target is there from its second call on.

    Health is looked up when it is asked for, so it is copied here.
    """
    seen: list[RoutingContext] = []

    class Looks:
        def choose(self, role: str, config: LLMConfig, *, context: RoutingContext) -> ProviderChoice:
            seen.append(replace(context, health=dict(context.health)))
            return ProviderChoice("a")

    router, _, _ = router_for(
        config_for({"a": [NO, "ok"], "b": ["ok"]}, role={"metadata": {"team": "x"}}), policy=Looks()
    )
    router.complete("r", "hi", metadata={"job": 7}, temperature=0.3)
    router.complete("r", "hi")
    assert seen[0].metadata == {"team": "x", "job": 7}
    assert seen[0].request.messages[0]["content"] == "hi" and seen[0].request.temperature == 0.3
    assert seen[0].health == {}
    assert seen[1].health["a", "m"].last_failure == "AUTH"
    assert seen[1].health["b", "m"].successes == 1


def test_a_policy_with_observe_sees_every_attempt() -> None:
    class Learns(SimpleRoutingPolicy):
        def __init__(self) -> None:
            self.seen: list[TraceRecord] = []

        def observe(self, record: TraceRecord) -> None:
            self.seen.append(record)
            raise RuntimeError("an observer must not break a call")

    policy = Learns()
    router, memory, _ = router_for(config_for({"a": [NO], "b": ["ok"]}), policy=policy)
    assert router.complete("r", "hi").text == "ok"
    assert policy.seen == memory.records and len(policy.seen) == 2
    assert router.telemetry_errors == 2


def test_policies_are_found_by_entry_point_name() -> None:
    assert isinstance(load_policy("simple"), SimpleRoutingPolicy)
    with pytest.raises(ConfigError, match=r"unknown routing policy 'clever'; there are: .*simple"):
        router_for(config_for({"a": ["ok"]}), policy="clever")


@pytest.mark.parametrize("policy", [object(), SimpleRoutingPolicy, 42, SimpleNamespace(choose="a")])
def test_what_is_no_policy_is_refused_when_the_router_is_built(policy: Any) -> None:
    with pytest.raises(ConfigError, match="choose"):
        router_for(config_for({"a": ["ok"]}), policy=policy)


def test_a_choose_that_does_not_tell_its_parameters_is_called_without_a_context() -> None:
    """As many a function written in C."""
    config = config_for({"a": ["a"], "b": ["b"]})

    class Unreadable:
        __signature__ = "none"

        def __call__(self, role: str, config: LLMConfig) -> ProviderChoice:
            return ProviderChoice("b")

    for chooses in (Unreadable(), {"r": ProviderChoice("b")}.pop):
        router, _, _ = router_for(config, policy=SimpleNamespace(choose=chooses))
        assert router.complete("r", "hi").text == "b"


def test_a_door_that_a_vendor_shut_is_respected_by_later_calls() -> None:
    """A 429 with Retry-After sends later calls to the fallback until then, skips traced; then back to the first."""
    limited = error_for(FailureType.RATE_LIMIT, "slow", retry_after=30.0)
    router, memory, clock = router_for(config_for({"a": [limited, "a again"], "b": ["b"]}))
    assert [router.complete("r", "hi").text for _ in range(2)] == ["b", "b"]
    assert [(r.provider, r.outcome) for r in memory.records] == [
        ("a", "error"), ("b", "ok"), ("a", "skipped"), ("b", "ok"),
    ]  # fmt: skip
    assert memory.records[2].retry_after == pytest.approx(30.0)
    clock.advance(30)
    assert router.complete("r", "hi").text == "a again"
    assert len(provider_of(router, "a").calls) == 2


def test_a_shut_only_target_is_waited_for_or_unavailable() -> None:
    """Waited for if it opens before the deadline; else UNAVAILABLE at once, with the time it opens."""
    limited = error_for(FailureType.RATE_LIMIT, "slow", retry_after=30.0)
    config = config_for({"a": [limited, "ok"]}, role={"deadline": 20})
    router, _, clock = router_for(config)
    with pytest.raises(Exception, match="slow"):
        router.complete("r", "hi")
    with pytest.raises(Exception, match="no target can be asked") as caught:
        router.complete("r", "hi")
    assert caught.value.failure_type is FailureType.UNAVAILABLE  # type: ignore[attr-defined]
    assert caught.value.retry_after == pytest.approx(30.0)  # type: ignore[attr-defined]
    assert clock.sleeps == []
    assert router.complete("r", "hi", deadline=60).text == "ok"
    assert clock.sleeps == [30.0]


class _Point:
    """An entry point that gives `found`, or raises it."""

    def __init__(self, name: str, found: object) -> None:
        self.name = name
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_an_installed_policy_is_built_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that cannot be loaded, or is none, is a configuration error that says so."""
    points = [_Point("mine", SimpleRoutingPolicy), _Point("broken", ImportError("no module")), _Point("odd", dict)]
    points.append(_Point("made", partial(SimpleRoutingPolicy)))
    monkeypatch.syspath_prepend(tmp_path)  # what is installed is looked up once for each search path
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    for name in ("mine", "made", "made"):
        assert isinstance(load_policy(name), SimpleRoutingPolicy)
    with pytest.raises(ConfigError, match="'broken' cannot be loaded: no module"):
        load_policy("broken")
    with pytest.raises(ConfigError, match="choose"):
        load_policy("odd")


def test_a_policys_typed_error_is_passed_on_as_it_is() -> None:
    """A policy may refuse a call with an error of its own choosing."""

    class Refuses:
        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            raise QuotaExceededError("this team has used up its budget")

    router, memory, _ = router_for(config_for({"a": ["no"]}), policy=Refuses())
    with pytest.raises(QuotaExceededError, match="budget"):
        router.complete("r", "hi")
    assert memory.records[0].failure_type == "QUOTA"


def test_the_same_target_never_stands_twice_in_a_chain() -> None:
    assert _models_asked(ProviderChoice("a", fallbacks=["a", "b", "b"])) == [("a", "m"), ("b", "m")]
