"""Routers that share by the section `state` of their files: with threads, over real time, in every form of a call."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from lee_llm_router import ConfigError, LeeLLMRouter, register_sink, register_state
from lee_llm_router.health.shared.contract import DoorReport, Exchange, LimitsReport
from lee_llm_router.health.shared.memory import MemoryState
from lee_llm_router.health.shared.settings import StateSettings
from lee_llm_router.testing import Recorder

_namespaces = count()


class StuckState(MemoryState):
    """A state in memory that can hang, or be gone."""

    free = threading.Event()
    is_gone = False
    spent: Mapping[str, float] = {}

    @classmethod
    def from_settings(cls, settings: StateSettings, **context: Any) -> StuckState:
        return cls(settings)

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        if not self.free.wait(20) or StuckState.is_gone:
            raise OSError("nobody is there")
        return super().exchange(limits, doors)

    def budget_ledger(self) -> StuckState:
        return self

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        StuckState.spent = {**StuckState.spent, **amounts}
        return amounts


register_state("stuck", StuckState, replace=True)


@pytest.fixture(autouse=True)
def _free() -> Iterator[None]:
    StuckState.free.set()
    StuckState.is_gone, StuckState.spent = False, {}
    yield
    StuckState.free.set()


def config(kind: str = "memory", **limits: Any) -> dict[str, Any]:
    providers = {"first": {"type": "mock", "response_text": "1", **limits}, "second": {"type": "mock"}}
    roles = {"r": {"provider": "first", "fallback_providers": ["second"]}}
    state = {"type": kind, "namespace": f"test{next(_namespaces)}"}
    return {"llm": {"providers": providers, "roles": roles, "state": state}}


def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        sleep(0.005)
    raise AssertionError("it did not come about")


def complete(router: LeeLLMRouter) -> str | None:
    return router.complete("r", "hi").provider


def complete_async(router: LeeLLMRouter) -> str | None:
    return asyncio.run(router.complete_async("r", "hi")).provider


def stream(router: LeeLLMRouter) -> str | None:
    with router.stream("r", "hi") as answer:
        list(answer)
    assert answer.response is not None
    return answer.response.provider


def stream_async(router: LeeLLMRouter) -> str | None:
    async def main() -> str | None:
        async with router.stream_async("r", "hi") as answer:
            async for _ in answer:
                pass
        assert answer.response is not None
        return answer.response.provider

    return asyncio.run(main())


FORMS = {one.__name__: one for one in (complete, complete_async, stream, stream_async)}


@pytest.mark.parametrize("form", FORMS)
def test_a_limit_is_one_for_two_routers_and_a_call_waits_for_its_share_before_it_goes_on(form: str) -> None:
    ask, settings = FORMS[form], config(rpm=4)
    with LeeLLMRouter(settings, trace_store=False) as one, LeeLLMRouter(settings, trace_store=False) as other:
        assert [ask(router) for router in (one, other, one, other)] == ["first"] * 4
        assert [ask(router) for router in (one, other)] == ["second"] * 2


def test_a_router_that_is_closed_gives_back_what_it_holds_and_its_threads_end() -> None:
    before, settings = set(threading.enumerate()), config(rpm=600)
    with LeeLLMRouter(settings, trace_store=False) as other:
        with LeeLLMRouter(settings, trace_store=False) as one:
            assert complete(one) == "first"
        for _ in range(599):
            assert complete(other) == "first"
        assert complete(other) == "second"
    until(lambda: set(threading.enumerate()) <= before)


def test_a_state_that_hangs_costs_no_call_and_is_joined_again() -> None:
    seen = Recorder()
    with LeeLLMRouter(config("stuck", rpm=1000), trace_store=False, event_sink=seen) as router:
        assert complete(router) == "first"
        StuckState.free.clear()
        answered: list[str | None] = []
        threads = [threading.Thread(target=lambda: answered.append(complete(router))) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        async def many() -> list[str | None]:
            return [
                one.provider for one in await asyncio.gather(*(router.complete_async("r", "hi") for _ in range(40)))
            ]

        answered += asyncio.run(many())
        assert answered == ["first"] * 80
        StuckState.free.set()
        assert complete(router) == "first"
    assert len(seen.named("state.lost")) <= 1


def test_a_state_that_is_gone_from_the_start_is_said_once_and_again_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    StuckState.is_gone = True
    seen = Recorder()
    with LeeLLMRouter(config("stuck", rpm=50), trace_store=False, event_sink=seen) as router:
        assert [complete(router) for _ in range(50)] == ["first"] * 50
        assert complete(router) == "second", "the router's own limits hold"
        until(lambda: seen.named("state.lost"))
        sleep(0.4)
        StuckState.is_gone = False
        until(lambda: seen.named("state.joined"))
    (lost,) = seen.named("state.lost")
    assert lost.data == {"state": "stuck", "reason": "nobody is there"}
    assert len([one for one in caplog.records if "state.lost" in one.getMessage()]) == 1


def test_budgets_are_kept_where_the_state_keeps_them() -> None:
    settings = config("stuck")
    settings["llm"]["budget"] = {"usd": 5}
    with LeeLLMRouter(settings, trace_store=False):
        assert StuckState.spent


def test_reading_the_file_again_keeps_what_is_shared_unless_the_state_is_another(tmp_path: Path) -> None:
    file, settings = tmp_path / "llm.json", config(rpm=3)
    file.write_text(json.dumps(settings))
    with LeeLLMRouter(file, trace_store=False) as router, LeeLLMRouter(file, trace_store=False) as other:
        assert [complete(router), complete(other)] == ["first"] * 2
        settings["llm"]["providers"]["first"]["response_text"] = "new"
        file.write_text(json.dumps(settings))
        router.reload()
        assert [complete(router), complete(router)] == ["first", "second"]
        settings["llm"]["state"]["namespace"] += "-other"
        file.write_text(json.dumps(settings))
        router.reload()
        assert [complete(router) for _ in range(3)] == ["first"] * 3
        assert complete(other) == "second"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_calls_over_threads_of_its_own() -> None:
    with LeeLLMRouter(config(rpm=600), trace_store=False) as router:
        assert complete(router) == "first"
        child = os.fork()
        if not child:
            os._exit(0 if [complete(router) for _ in range(3)] == ["first"] * 3 else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert complete(router) == "first"


def test_nothing_of_it_is_loaded_where_no_state_is_named() -> None:
    code = (
        "import sys; from lee_llm_router import LeeLLMRouter;"
        "LeeLLMRouter.of('mock').complete(None, 'hi');"
        "print([one for one in sys.modules if 'health.shared.' in one and not one.endswith('plugins')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class ClosedSink:
    """Counts how often it was closed."""

    closed = 0

    def emit(self, event: Any) -> None:
        """Take nothing."""

    def close(self) -> None:
        type(self).closed += 1


class RefusingState(StuckState):
    """Cannot be opened."""

    @classmethod
    def from_settings(cls, settings: StateSettings, **context: Any) -> StuckState:
        raise ConfigError("no such server", sent=False)


def test_a_router_whose_state_cannot_be_opened_leaves_nothing_open() -> None:
    register_sink("closed", ClosedSink, replace=True)
    register_state("refusing", RefusingState, replace=True)
    llm = {
        "sinks": ["closed"],
        "state": "refusing",
        "providers": {"p": {"type": "mock"}},
        "roles": {"r": {"provider": "p"}},
    }
    with pytest.raises(ConfigError, match="no such server"):
        LeeLLMRouter({"llm": llm}, trace_store=False)
    assert ClosedSink.closed == 1
