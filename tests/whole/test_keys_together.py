"""What looks at a target knows all its keys: its health, policies, hedges, kept answers, traces and metrics."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from helpers.command_line import run_child
from helpers.key_server import KEYS, OK, KeyServer, config_of, refusal, routed
from helpers.servers import Received, json_answer
from lee_llm_router import (
    LeeLLMRouter,
    LLMRouterError,
    ProviderChoice,
    RoutingContext,
)
from lee_llm_router.telemetry.settings import TraceConfig
from lee_llm_router.telemetry.sinks.prometheus import PrometheusSink

pytestmark = pytest.mark.usefixtures("several_keys")


def test_the_health_of_a_target_says_what_its_keys_can_do_together() -> None:
    """And each of them, by its variable; one that serves is enough."""
    with KeyServer({"KEY_A": refusal(401)}) as server, routed(server) as (router, _, _):
        for _ in range(3):
            router.complete("r", "hi")
        known = router.health()["k", "m"]
        assert (known.available, known.successes, known.last_failure) == (True, 3, "AUTH")
        assert {name: one.available for name, one in known.keys.items()} == {
            "KEY_A": False,
            "KEY_B": True,
            "KEY_C": True,
        }
        router.reset_health("k")
        assert router.health()["k", "m"].keys["KEY_A"].available


def test_explain_shows_each_key_as_the_next_call_would_ask_them() -> None:
    with KeyServer({"KEY_B": refusal(401)}) as server, routed(server) as (router, _, _):
        for _ in range(2):
            router.complete("r", "hi")
        told = router.explain("r", "hi")
        assert [(t.key_variable, t.state) for t in told.targets] == [
            ("KEY_C", "asked"), ("KEY_A", "next"), ("KEY_B", "closed"),
        ]  # fmt: skip
        assert router.explain("r", "hi") == told and len(server.asked) == 3
        router.complete("r", "hi")
        assert server.asked[-1] == "KEY_C"


def test_what_a_model_has_taught_with_one_key_holds_for_all() -> None:
    """An option that it refuses is refused once, not once for each key; connections are shared as well."""

    def answer(received: Received) -> bytes:
        if "temperature" in received.json:
            message = "Unsupported parameter: 'temperature' is not supported with this model."
            return json_answer(
                {"error": {"message": message, "param": "temperature", "code": "unsupported_parameter"}}, 400
            )
        return OK

    with KeyServer(dict.fromkeys(KEYS, answer)) as server, routed(server) as (router, _, _):
        for _ in range(6):
            router.complete("r", "hi", temperature=0.5, drop_unsupported=True)
        assert len(server.requests) == 7 and server.connections == 1


def test_a_policy_sees_what_the_keys_of_a_target_can_do_together() -> None:
    """By provider and model, as it knows them; nothing that it iterates over has a third part."""
    seen: list[dict[Any, Any]] = []

    class Looks:
        def choose(self, role: str, config: Any, *, context: RoutingContext | None = None) -> ProviderChoice:
            assert context is not None
            seen.append({(provider, model): health for (provider, model), health in context.health.items()})
            assert len(context.health) == len(seen[-1])
            return ProviderChoice("k")

    with (
        KeyServer({"KEY_A": refusal(401)}) as server,
        LeeLLMRouter(config_of(server), policy=Looks(), trace_store=False) as router,
    ):
        for _ in range(2):
            router.complete("r", "hi")
    assert seen[0] == {}
    assert list(seen[1]) == [("k", "m")] and seen[1]["k", "m"].available
    assert set(seen[1]["k", "m"].keys) == {"KEY_A", "KEY_B"}


def test_limits_and_rests_of_each_key_are_shared_by_all_routers_of_a_state() -> None:
    """Each key has a scope of its own there: three keys at one attempt a minute give three, whoever makes them."""
    with KeyServer({"KEY_A": refusal(401)}) as server:
        config = config_of(server, rpm=1, state={"type": "memory", "namespace": "several-keys"})
        with LeeLLMRouter(config, trace_store=False) as one, LeeLLMRouter(config, trace_store=False) as other:
            assert one.complete("r", "hi").text == "hello"
            assert server.asked == ["KEY_A", "KEY_B"]
            assert other.complete("r", "hi", deadline=5).text == "hello"
            assert server.asked[2:] == ["KEY_C"]
            with pytest.raises(LLMRouterError):
                other.complete("r", "hi", deadline=0.3)
        assert len(server.asked) == 3


def held_until(released: threading.Event) -> Callable[[Received], bytes]:
    def answer(_: Received) -> bytes:
        released.wait(5)
        return OK

    return answer


def test_a_hedge_asks_another_key_only_where_the_same_target_may_be_asked() -> None:
    """Another key is the same server: beside one that is slow stands another target, unless same_target is set."""
    backup = {"b": {"type": "mock", "model": "mm", "response_text": "backup"}}
    for same_target, text in ((False, "backup"), (True, "hello")):
        with KeyServer() as server:
            hold = threading.Event()
            server.answers["KEY_A"] = held_until(hold)
            role = {"hedge": {"after": 0.01, "same_target": same_target}}
            others = None if same_target else backup
            config = config_of(server, role=role, others=others)
            with LeeLLMRouter(config, trace_store=False) as router:
                assert router.complete("r", "hi").text == text
                hold.set()
            assert ("KEY_B" in server.asked) is same_target


def test_an_answer_that_one_key_has_brought_is_kept_for_all() -> None:
    """Whichever key's turn it is."""
    role = {"cache": {"type": "memory"}, "temperature": 0}
    with KeyServer() as server, routed(server, role=role) as (router, memory, _):
        assert [router.complete("r", "hi").text for _ in range(4)] == ["hello"] * 4
        assert server.asked == ["KEY_A"] and memory.records[0].key_variable == "KEY_A"


def test_trace_show_names_the_key_of_each_attempt(tmp_path: Path) -> None:
    """By its variable, and why another one was asked; so does the record that a store has read."""
    with KeyServer({"KEY_A": refusal(429)}) as server:
        config = config_of(server).model_copy(update={"trace": TraceConfig(dir=str(tmp_path))})
        with LeeLLMRouter(config) as router:
            answer = router.complete("r", "hi")
    assert answer.request_id is not None
    out = run_child("trace", "show", answer.request_id, "--dir", str(tmp_path)).stdout.decode()
    assert re.search(r"key +KEY_A", out) and re.search(r"key +KEY_B", out)
    assert "another key after RATE_LIMIT with KEY_A" in out and "secret-of" not in out


def test_metrics_count_the_attempts_with_each_key() -> None:
    """By the variable's name; of a provider with one key there is no such series."""
    registry = CollectorRegistry()
    sink = PrometheusSink(registry=registry)
    with KeyServer({"KEY_A": refusal(401)}) as server:
        for settings in ({}, {"api_key_env": "KEY_B"}):
            with LeeLLMRouter(config_of(server, **settings), trace_store=False, event_sink=sink) as router:
                router.complete("r", "hi")

    def value(key: str, outcome: str, failure: str) -> float | None:
        labels = {"provider": "k", "key": key, "outcome": outcome, "failure": failure}
        return registry.get_sample_value("lee_llm_router_key_attempts_total", labels)

    assert (value("KEY_A", "error", "AUTH"), value("KEY_B", "ok", "")) == (1, 1)
