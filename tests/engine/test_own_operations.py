"""An operation of an application's own needs little: what it leaves alone has a sound meaning."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from lee_llm_router import LeeLLMRouter, LLMResponse, ProviderError
from lee_llm_router.engine.attempt_secrets import keys_in
from lee_llm_router.engine.heard_limits import NOTHING_HEARD, heard
from lee_llm_router.engine.operation import Operation
from lee_llm_router.engine.plan import Target
from lee_llm_router.testing import FakeClock, Recorder


class Least(Operation):
    """Has only what it must have."""

    name = "least"

    def checked(self, payload: Any) -> Any:
        return payload

    def request_for(self, plan: Any, target: Any, reporter: Any) -> Any:
        return plan

    def ask(self, provider: Any, request: Any, timeout: float) -> Any:
        return request

    def ask_async(self, provider: Any, request: Any, timeout: float) -> Coroutine[Any, Any, Any]:
        raise NotImplementedError

    def accepted(self, plan: Any, target: Any, request: Any, answer: Any) -> Any:
        return f"accepted {answer}"


def test_what_an_operation_leaves_alone_is_asked_judged_and_kept_as_it_is() -> None:
    least, target, plan = Least(), Target("a", "m", {}), Any
    answer, asked = LLMResponse(text="yes"), object()
    assert least.refusal(plan, asked) is None and least.fitted(plan, asked) == (asked, ())  # type: ignore[arg-type]
    assert least.accepted_within(plan, target, asked, 7, 1.0) == "accepted 7"  # type: ignore[arg-type]
    assert least.repaired(asked, ProviderError("broken")) is asked
    assert least.facts(answer) is least.with_cost(answer, 1.0) is answer
    assert least.answer_form() is None, "no cache keeps what nobody can write down"
    assert least.request_of_kept(plan, target) is target.request_template  # type: ignore[arg-type]


class Hostile:
    """Breaks wherever it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise KeyError("of somebody else's")


def test_a_request_or_an_answer_that_cannot_be_read_costs_no_call() -> None:
    assert keys_in(Hostile()) == ()
    assert heard(Least(), Hostile(), 0.0) == NOTHING_HEARD


def test_a_kept_answer_is_recorded_with_its_texts_where_that_is_wanted() -> None:
    recorder = Recorder()
    config = {
        "providers": {"p": {"type": "mock", "echo": True}}, "trace": {"capture": "full"},
        "roles": {"r": {"provider": "p", "model": "m", "cache": {"type": "memory"}}},
    }  # fmt: skip
    with LeeLLMRouter({"llm": config}, trace_store=recorder, clock=FakeClock()) as router:
        answers = [router.complete("r", "hello") for _ in range(2)]
    assert [answer.cached for answer in answers] == [False, True]
    first, kept = recorder.records
    assert kept.cached and (kept.messages, kept.text) == (first.messages, first.text)
