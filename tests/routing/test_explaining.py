"""`LeeLLMRouter.explain`: what a call would do, found out without doing any of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import (
    ExplainedTarget,
    Explanation,
    InvalidRequestError,
    LeeLLMRouter,
    LLMRouterError,
    ProviderChoice,
    RouterClosedError,
)
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.response.content import image_part
from lee_llm_router.testing import FakeClock, Recorder

IMAGE = image_part(b"\x89PNG\r\n\x1a\n")
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
KEYLESS = {"type": "openai", "api_key_env": "A_KEY_THAT_IS_NOT_SET"}
LIMITED = {"type": "mock", "script": [{"error": "RATE_LIMIT", "retry_after": 20}]}
DEAD = {"type": "mock", "script": [{"error": "AUTH", "message": "no"}]}
BROKEN = {"type": "mock", "script": [{"error": "PROVIDER_ERROR", "message": "no"}]}
COMMAND = {"type": "command", "argv": ["true"]}
CHAT = {"type": "mock"}


def router_of(*chain: Mapping[str, Any], role: Mapping[str, Any] | None = None, **options: Any) -> LeeLLMRouter:
    """Return a router whose role `r` has the providers `chain`, named a, b, c..., on a clock that costs no time."""
    names = "abcdefgh"[: len(chain)]
    config = {
        "providers": dict(zip(names, chain, strict=True)),
        "roles": {"r": {"provider": names[0], "fallback_providers": list(names[1:]), **(role or {})}},
        **options.pop("config", {}),
    }
    return LeeLLMRouter({"llm": config}, clock=options.pop("clock", FakeClock()), **{"trace_store": False, **options})


def states(told: Explanation) -> dict[str, str]:
    return {target.provider: target.state for target in told.targets}


def source_of(target: ExplainedTarget | Explanation, name: str) -> tuple[Any, str]:
    return next((setting.value, setting.source) for setting in target.settings if setting.name == name)


# --- what happens ---

ASKED: list[tuple[list[Mapping[str, Any]], dict[str, Any], Any]] = [
    ([CHAT, CHAT], {}, "hi"),
    ([KEYLESS, CHAT], {}, "hi"),
    ([KEYLESS, KEYLESS, CHAT], {}, "hi"),
    ([COMMAND, CHAT], {"temperature": 0.5}, "hi"),
    ([COMMAND, CHAT], {"tools": [TOOL]}, "hi"),
    ([COMMAND, CHAT], {}, [{"role": "user", "content": [IMAGE]}]),
    ([COMMAND, KEYLESS, CHAT], {"seed": 3}, "hi"),
    ([CHAT, COMMAND], {"json_mode": True}, "hi"),
    ([{"type": "codex_cli", "command": "/nowhere/codex"}, CHAT], {"seed": 3}, "hi"),
]


@pytest.mark.parametrize(("chain", "options", "messages"), ASKED)
def test_whom_it_names_first_the_call_asks_first(
    chain: list[Mapping[str, Any]], options: dict[str, Any], messages: Any
) -> None:
    """Targets before it are passed over by the call too: for the same reason, and without anything sent."""
    store = Recorder()
    with router_of(*chain, role={"model": "m"}, trace_store=store) as router:
        told = router.explain("r", messages, **options)
        first = next(target for target in told.targets if target.state == "asked")
        with pytest.raises(LLMRouterError) if options.get("json_mode") else nullcontext():
            router.complete("r", messages, **options)
    sent = next(record for record in store.records if record.sent)
    assert (told.outcome, first.provider) == ("asks", sent.provider)
    for target, record in zip(told.targets, store.records, strict=False):
        if target.state in ("skipped", "failing"):
            assert (record.provider, record.sent) == (target.provider, False)
            assert target.reason is not None and record.error is not None and target.reason in record.error


def test_nothing_is_asked_taken_or_learned() -> None:
    """Neither health nor limits nor traces nor hooks see anything of it."""
    store, called = Recorder(), []

    def compressed(messages: list[Any]) -> list[Any]:
        called.append(messages)
        return messages

    with router_of(
        {**CHAT, "rpm": 1, "max_concurrency": 1}, {**KEYLESS}, trace_store=store, event_sink=store,
        compression=compressed,
    ) as router:  # fmt: skip
        for _ in range(3):
            told = router.explain("r", "hi")
        assert (told.outcome, told.is_compressed, called) == ("asks", True, [])
        assert dict(router.health()) == {} and not store.records and not store.events
        router.complete("r", "hi")
        assert router._clock.sleeps == []  # type: ignore[attr-defined]
        before = dict(router.health())
        told = router.explain("r", "hi")
        assert dict(router.health()) == before
        assert (told.outcome, states(told)) == ("waits", {"a": "waited_for", "b": "failing"})


def test_a_wait_is_told_with_its_reason_and_length() -> None:
    """A vendor's wait, with no other target."""
    clock = FakeClock()
    with router_of(LIMITED, role={"retry": {"attempts": 1}}, clock=clock) as router:
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        clock.now += 5
        told = router.explain("r", "hi")
    assert (told.outcome, told.reason, told.wait) == ("waits", "the vendor asked to wait", 15)
    (target,) = told.targets
    assert (target.state, target.opens_in) == ("waited_for", 15)
    assert target.health is not None and target.health.last_failure == "RATE_LIMIT"


def test_a_target_that_is_closed_is_passed_over() -> None:
    with router_of(LIMITED, CHAT) as router:
        router.complete("r", "hi")
        told = router.explain("r", "hi")
    assert states(told) == {"a": "closed", "b": "asked"}
    assert (told.targets[0].reason, told.targets[0].opens_in) == ("the vendor asked to wait", 20)


def test_a_wait_past_the_deadline_fails_the_call() -> None:
    with router_of(LIMITED, role={"retry": {"attempts": 1}}) as router:
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        told = router.explain("r", "hi", deadline=10)
    assert (told.outcome, told.wait, states(told)) == ("fails", None, {"a": "closed"})
    assert told.reason == "a: the vendor asked to wait"


def test_an_open_breaker_is_waited_for_within_patience() -> None:
    """And not at all without patience."""
    health = {"config": {"health": {"failures_in_a_row": 1, "cooldown": 4}}}
    with router_of(BROKEN, role={"retry": {"attempts": 1, "patience": 0}}, **health) as router:
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        told = router.explain("r", "hi")
        assert (told.outcome, told.reason) == ("fails", "a: its circuit breaker is open")
    with router_of(BROKEN, role={"retry": {"attempts": 1, "max_attempts": 1}}, **health) as router:
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        told = router.explain("r", "hi")
        assert told.outcome == "waits" and told.wait is not None and 0 < told.wait <= 5


def test_a_target_that_rests_is_asked_if_there_is_no_other() -> None:
    with router_of(DEAD) as router:
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        told = router.explain("r", "hi")
    assert (told.outcome, told.targets[0].state, told.targets[0].reason) == (
        "asks",
        "asked",
        "it is resting after AUTH",
    )


def test_a_call_that_nobody_can_take_fails() -> None:
    with router_of(KEYLESS, COMMAND, role={"model": "m"}) as router:
        told = router.explain("r", "hi", tools=[TOOL])
    assert (told.outcome, states(told)) == ("fails", {"a": "failing", "b": "skipped"})
    assert told.most_attempts == 0
    assert "A_KEY_THAT_IS_NOT_SET is not set" in str(told.targets[0].reason)


def test_what_is_left_out_is_told_with_the_reason() -> None:
    with router_of(COMMAND) as router:
        assert router.explain("r", temperature=0.5).targets[0].state == "skipped"
        (target,) = router.explain("r", temperature=0.5, drop_unsupported=True).targets
    assert target.state == "asked"
    assert list(target.dropped) == ["temperature"] and "argv" in target.dropped["temperature"]


def test_without_messages_only_the_options_are_judged() -> None:
    with router_of(COMMAND, CHAT) as router:
        assert router.explain().outcome == "asks"


def test_a_budget_that_is_spent_closes_its_targets(tmp_path: Path) -> None:
    """And the call fails where there is no other."""
    paid = {**CHAT, "budget": {"usd": 1, "per": "day"}}
    prices: Any = {"role": {"model": "m"}, "config": {"pricing": {"models": {"a/m": {"input": 1e6, "output": 1e6}}}}}
    with router_of(paid, CHAT, **prices, workspace=tmp_path / "one") as router:
        router.complete("r", "hi")
        told = router.explain("r", "hi")
    assert states(told) == {"a": "closed", "b": "asked"}
    assert "budget" in str(told.targets[0].reason) and told.targets[0].opens_in is not None
    with router_of(paid, **prices, workspace=tmp_path / "two") as router:
        router.complete("r", "hi")
        told = router.explain("r", "hi")
    assert told.outcome == "fails" and "budget" in str(told.reason)


def test_prices_are_named_where_they_are_known() -> None:
    config = {"pricing": {"models": {"a/m": {"input": 2.5, "output": 10}}}}
    with router_of(CHAT, {**CHAT, "model": "k"}, role={"model": "m"}, config=config) as router:
        first, second = router.explain("r").targets
    assert first.price is not None and second.price is None
    assert (first.price.input_usd, first.price.output_usd) == (2.5, 10)
    assert first.price.source


def test_the_policys_reasons_are_told() -> None:
    class Policy:
        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            return ProviderChoice("b", reason="it is cheap", fallbacks=[ProviderChoice("a", reason="it is \x1bgood")])

    with router_of(CHAT, CHAT, policy=Policy()) as router:
        told = router.explain("r")
    assert told.policy_reason == "it is cheap"
    assert [target.chosen_because for target in told.targets] == ["it is cheap", "it is \\x1bgood"]


# --- by which settings ---


def test_each_setting_names_who_set_it() -> None:
    """The call wins over the policy, that over the fallback's entry, and that over the role."""

    class Policy:
        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            overrides = {"top_p": 0.2, "seed": 7, "extra_body": {"from": "policy"}}
            return ProviderChoice("b", overrides, {"response_text": "other"})

    role = {
        "model": "m", "temperature": 0.1, "top_p": 0.1, "seed": 1, "max_tokens": 1,
        "extra_body": {"own": 1, "from": "r"},
        "fallback_providers": [{"provider": "b", "temperature": 0.5, "model": "n"}],
    }  # fmt: skip
    with router_of(CHAT, {**CHAT, "model": "k"}, role=role, policy=Policy()) as router:
        told = router.explain("r", seed=9, extra_body={"asked": True})
    first, second = told.targets
    assert (first.provider, first.model, first.model_source) == ("b", "n", "fallback")
    assert source_of(first, "temperature") == (0.5, "fallback")
    assert source_of(first, "top_p") == (0.2, "policy")
    assert source_of(first, "seed") == (9, "call")
    assert source_of(first, "max_tokens") == (1, "role")
    assert source_of(first, "timeout") == (120, "default")
    merged = {"own": (1, "role"), "from": ("policy", "policy"), "asked": (True, "call")}
    assert {name: source_of(first, f"extra_body.{name}") for name in merged} == merged
    assert [(s.name, s.value, s.source) for s in first.provider_settings] == [("response_text", "other", "policy")]
    assert (second.provider, second.model, second.model_source) == ("a", "m", "role")
    assert source_of(second, "temperature") == (0.1, "role")
    assert told.policy == "Policy"


@pytest.mark.parametrize(
    ("provider", "fallback", "asked", "expected"),
    [
        ({}, "b", {}, [("m", "role"), ("m", "role")]),
        ({"model": "k"}, "b", {}, [("m", "role"), ("k", "provider")]),
        ({"model": "k"}, {"provider": "b", "model": "n"}, {}, [("m", "role"), ("n", "fallback")]),
        ({}, "b", {"model": "z"}, [("z", "call"), ("z", "call")]),
        ({"model": "k"}, "b", {"model": "z"}, [("z", "call"), ("k", "provider")]),
        ({}, {"provider": "b", "model": None}, {}, [("m", "role"), (None, "default")]),
    ],
)
def test_each_model_names_who_chose_it(
    provider: dict[str, Any], fallback: Any, asked: dict[str, Any], expected: list[tuple[str | None, str]]
) -> None:
    with router_of(CHAT, {**CHAT, **provider}, role={"model": "m", "fallback_providers": [fallback]}) as router:
        told = router.explain("r", **asked)
    assert [(target.model, target.model_source) for target in told.targets] == expected


def test_what_holds_for_the_whole_call() -> None:
    role = {"retry": {"attempts": 4, "backoff": 1, "max_backoff": 3}, "metadata": {"team": "red"}, "deadline": 50,
            "accept": {"min_chars": 3}}  # fmt: skip
    with router_of(CHAT, CHAT, role=role) as router:
        told = router.explain("r", deadline=30, metadata={"run": 1}, contract={"repair": 0})
    assert source_of(told, "deadline") == (30, "call")
    assert source_of(told, "retry.attempts") == (4, "role")
    assert source_of(told, "retry.patience") == (10, "default")
    assert source_of(told, "contract.repair") == (0, "call")
    assert source_of(told, "contract.on_failure") == ("next", "default")
    assert source_of(told, "accept.min_chars") == (3, "role")
    assert source_of(told, "metadata.team") == ("red", "role")
    assert source_of(told, "metadata.run") == (1, "call")
    assert [*told.backoffs] == [(0.5, 1), (1, 2), (1.5, 3)]
    assert told.most_attempts == 6


def test_it_is_plain_data_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what was made of a value from the environment, and what is only shaped or named like a key."""
    monkeypatch.setenv("TOKEN", "tok-en-of-the-env")
    role = {"headers": {"authorization": "Bearer ${TOKEN}"}, "extra_body": {"note": "uses ${TOKEN}"}, "schema": {}}
    with router_of(CHAT, {**CHAT, "response_text": "${TOKEN}"}, role=role) as router:
        told = router.explain(
            "r", [{"role": "user", "content": "hi"}], headers={"x-api-key": "kept-quiet"}, tools=[TOOL],
            schema=list[int],
            extra_body={"text": "sk-abcdefghijklmnopqrstuv", "made": "tok-en-of-the-env!"}, accept=lambda _: True,
        )  # fmt: skip
    text = json.dumps(told.as_dict())
    for secret in ("tok-en-of-the-env", "kept-quiet", "abcdefghijklmnop"):
        assert secret not in text and secret not in repr(told)
    assert source_of(told.targets[0], "tools") == (["look"], "call")
    assert source_of(told.targets[0], "schema")[0]["type"] == "array"


# --- what is wrong ---


def test_what_a_call_refuses_it_refuses_too() -> None:
    with router_of(CHAT, config={"unknown_role": "error"}) as router:
        for wrong in ({"temperature": "warm"}, {"nonsense": 1}, {"schema": {"type": "nonsense"}}):
            with pytest.raises(InvalidRequestError):
                router.explain("r", **wrong)
        with pytest.raises(InvalidRequestError):
            router.explain("r", [{"role": "nobody"}])
        with pytest.raises(InvalidRequestError, match="no such role"):
            router.explain("s")
    with pytest.raises(RouterClosedError):
        router.explain("r")


def test_an_unknown_role_is_served_by_the_default_one_and_not_warned_of() -> None:
    """The warning is kept for the call."""
    with router_of(CHAT) as router:
        told = router.explain("planer")
        assert (told.role, told.asked_role) == ("r", "planer")
        with pytest.warns(UserWarning, match="planer"):
            router.complete("planer", "hi")


def test_a_provider_that_cannot_be_built_is_told_of() -> None:
    """A policy's wrong override, say; the rest of the chain is explained."""

    class Policy:
        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            return ProviderChoice("a", {}, {"nonsense": 1})

    with router_of(CHAT, CHAT, policy=Policy()) as router:
        told = router.explain("r")
    assert states(told) == {"a": "skipped", "b": "asked"}
    assert "cannot be built" in str(told.targets[0].reason)


def test_of_a_providers_settings_only_what_was_set_is_there() -> None:
    """In what they hold in turn, too."""
    with router_of({"type": "mock", "script": [{"text": "one"}, {"error": "AUTH", "times": 2}]}) as router:
        (told,) = router.explain("r").targets
    assert {setting.name: setting.value for setting in told.provider_settings} == {
        "script": [{"text": "one"}, {"error": "AUTH", "times": 2}]
    }
