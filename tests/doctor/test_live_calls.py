"""`doctor --live=call` asks each target one small question, and says beforehand what that costs at most."""

from __future__ import annotations

import pytest

from helpers.live_checks import KEY, LIST, config
from helpers.servers import (
    Received,
    Server,
    answering,
    answering_by,
    completion,
    json_answer,
)
from lee_llm_router.config import load_config
from lee_llm_router.doctor import diagnose_live
from lee_llm_router.doctor.live.call_probe import CallPlan, TargetCall, lines_of_plan, planned_calls

pytestmark = pytest.mark.usefixtures("key_to_ask")


def test_each_target_is_asked_one_small_question_by_the_roles_settings() -> None:
    """A chain's targets are asked each; what differs in nothing is asked once; no trace is left."""

    def answer(received: Received) -> bytes:
        if received.line.startswith("GET"):
            return json_answer(LIST)
        return json_answer(completion("OK"))

    with Server(answering_by(answer)) as server:
        source = config(server.url, "m1", "m1", "m2", extra_body={"store": False})
        source["llm"]["roles"]["r2"] |= {"temperature": 0.5, "max_tokens": 7}
        plans: list[CallPlan] = []

        def agree(plan: CallPlan) -> bool:
            plans.append(plan)
            return True

        results = diagnose_live(source, call=True, agree=agree)
    assert [result.id for result in results].count("LLR931") == 2
    bodies = [request.json for request in server.requests if request.line.startswith("POST")]
    assert sorted(body["model"] for body in bodies) == ["m1", "m2"]
    second = next(body for body in bodies if body["model"] == "m2")
    assert (second["temperature"], second["max_tokens"], second["store"]) == (0.5, 7, False)
    assert plans[0].unknown == ["p/m1", "p/m2"]


def test_a_call_that_fails_says_as_what_and_is_made_once() -> None:
    """No retry, no fallback: each target stands for itself."""

    def answer(received: Received) -> bytes:
        if received.line.startswith("GET"):
            return json_answer(LIST)
        return json_answer({"error": {"message": f"temperature is not supported {KEY}"}}, 400)

    with Server(answering_by(answer)) as server:
        results = diagnose_live(config(server.url, "m1"), call=True)
    assert [result.id for result in results] == ["LLR900", "LLR930"]
    assert results[1].message.startswith("INVALID_REQUEST: ")
    assert KEY not in repr(results)
    assert sum(request.line.startswith("POST") for request in server.requests) == 1


def test_nothing_is_asked_without_leave() -> None:
    with Server(answering(json_answer(LIST))) as server:
        results = diagnose_live(config(server.url, "m1"), call=True, agree=lambda plan: False)
    assert [(result.id, result.level) for result in results] == [("LLR900", "ok"), ("LLR932", "info")]
    assert all(request.line.startswith("GET") for request in server.requests)


def test_the_price_is_known_beforehand_where_the_table_has_it() -> None:
    """It is an upper bound: of a prompt longer than ours, and an answer as long as it may be."""
    pytest.importorskip("genai_prices")
    provider = {"type": "openai", "base_url": "https://api.openai.com/v1", "api_key_env": "MY_KEY"}
    source = {
        "llm": {
            "providers": {"p": provider, "local": {"type": "mock"}},
            "roles": {"r": {"provider": "p", "model": "gpt-4o-mini", "fallback_providers": ["local"]}},
        }
    }
    plan = planned_calls(load_config(source), ["r"], 10)
    # 300 tokens at $0.15 and 256 at $0.60 a million.
    assert plan.most_usd == pytest.approx(300 * 0.15e-6 + 256 * 0.6e-6)
    assert plan.unknown == []


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ([0.0, 0.0], "2 questions that cost nothing"),
        ([0.000_01], "1 question of at most $0.0001 together"),
        ([0.01, 0.002_31], "2 questions of at most $0.0124 together"),
    ],
)
def test_what_questions_cost_at_most_is_never_said_to_be_less(prices: list[float], told: str) -> None:
    """A small cost is not shown as none."""
    config = load_config({"llm": {"providers": {"a": {"type": "mock"}}, "roles": {"r": {"provider": "a"}}}})
    calls = [TargetCall(name="a", config=config, most_usd=usd) for usd in prices]
    assert list(lines_of_plan(CallPlan(calls=calls, refused=[]))) == [told]
