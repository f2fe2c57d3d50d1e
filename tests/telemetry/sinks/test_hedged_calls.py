"""What metrics and spans tell of a hedged call: two attempts at once, one of them not waited for, and no failure."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from helpers.spans import MemorySDK
from lee_llm_router import PrometheusSink
from lee_llm_router.testing import After, ScriptedRouter

CONFIG = {
    "llm": {
        "providers": {name: {"type": "mock", "model": "m"} for name in "ab"},
        "roles": {"r": {"provider": "a", "fallback_providers": ["b"], "hedge": {"after": 1}}},
    }
}


def _ask(sink: Any) -> None:
    with ScriptedRouter(CONFIG, answers={"a": After(9, "late"), "b": "quick"}, event_sink=sink) as router:
        assert router.complete("r", "hi").text == "quick"


def test_a_hedge_is_counted_and_is_no_fallback() -> None:
    registry = CollectorRegistry()
    _ask(PrometheusSink(registry=registry))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"lee_llm_router_{name}_total", labels)

    of_a, of_b = ({"role": "r", "provider": name, "model": "m"} for name in "ab")
    assert value("hedges", **of_b) == 1 and value("hedges", **of_a) is None
    assert value("fallbacks", **of_a) is None and value("saved_calls", role="r") is None
    assert value("attempts", **of_a, outcome="cancelled", failure="") == 1
    assert value("calls", role="r", outcome="ok", failure="") == 1


def test_both_attempts_have_a_span_and_none_is_an_error() -> None:
    sdk = MemorySDK()
    _ask(sdk.sink)
    lost, answered = sdk.attempts()
    assert lost.attributes["lee_llm_router.provider"] == "a" and "error.type" not in lost.attributes
    assert answered.attributes["lee_llm_router.hedge"] is True
    assert {span.status.status_code.name for span in sdk.spans} == {"UNSET"}
    call = sdk.call()
    assert call.attributes["lee_llm_router.answered_by_hedge"] is True
    assert call.attributes["lee_llm_router.saved_by_fallback"] is False
    assert [event.name for event in call.events] == ["lee_llm_router.hedge_end"]
