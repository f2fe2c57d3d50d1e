"""A model is loaded once, off the event loop; calls are stopped at once; what is closed leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_llama import FakeLlama
from helpers.support import Memory
from lee_llm_router import FailureType, LeeLLMRouter, LLMRouterError, LLMTimeoutError

PATIENCE = 30.0


def router_of(config: dict[str, Any], **inside: Any) -> LeeLLMRouter:
    config["llm"]["providers"]["inside"].update(inside)
    return LeeLLMRouter(config)


def gone(llama: FakeLlama) -> bool:
    """Whether every native server is destroyed. One that was left by a call under way gets a moment."""
    for _ in range(1000):
        gc.collect()
        if llama.alive == 0:
            return True
        threading.Event().wait(0.01)
    return False


def test_nothing_is_loaded_before_the_first_call(llama: FakeLlama, config: dict[str, Any]) -> None:
    with router_of(config) as router:
        router.resolve("r")
    assert llama.params == []


def test_calls_at_the_same_time_load_it_once(llama: FakeLlama, config: dict[str, Any]) -> None:
    """In threads and two routers."""
    with router_of(config, max_concurrency=2) as one, router_of(config) as two, ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda number: (one, two)[number % 2].complete("r", "hi").text, range(16)))
    assert texts == ["Hello, world"] * 16
    assert len(llama.params) == 1 and llama.most_loads_at_once == 1
    assert llama.most_at_once <= 2, "slots of both routers together"
    assert gone(llama)


def test_the_model_stays_while_another_router_uses_it(llama: FakeLlama, config: dict[str, Any]) -> None:
    with router_of(config) as two:
        with router_of(config) as one:
            one.complete("r", "hi")
            two.complete("r", "hi")
        assert llama.alive == 1
        two.complete("r", "hi")
    assert len(llama.params) == 1
    assert gone(llama)


def test_it_stays_loaded_when_the_file_is_read_again(llama: FakeLlama, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "llm.yaml"
    text = (
        f"llm:\n  providers: {{inside: {{type: llama_cpp, model_path: {model}}}}}\n"
        "  roles: {r: {provider: inside, temperature: TEMPERATURE}}\n  trace: {enabled: false}\n"
    )
    file.write_text(text.replace("TEMPERATURE", "0"))
    with LeeLLMRouter.from_file(file) as router:
        router.complete("r", "hi")
        file.write_text(text.replace("TEMPERATURE", "1"))
        router.reload()
        router.complete("r", "hi")
    assert [body["temperature"] for body in llama.bodies] == [0, 1]
    assert len(llama.params) == 1
    assert gone(llama)


def test_other_settings_are_another_model(llama: FakeLlama, config: dict[str, Any]) -> None:
    with router_of(config) as one, router_of(config, n_ctx=512) as two:
        one.complete("r", "hi")
        two.complete("r", "hi")
    assert [params.n_ctx for params in llama.params] == [2048, 512]
    assert gone(llama)


def test_a_load_that_takes_longer_than_the_attempt_serves_the_next_one(
    llama: FakeLlama, config: dict[str, Any]
) -> None:
    llama.may_load.clear()
    with router_of(config) as router:
        with pytest.raises(LLMTimeoutError, match="still loading"):
            router.complete("r", "hi", timeout=0.05)
        assert llama.loading.wait(PATIENCE)
        llama.may_load.set()
        assert router.complete("r", "hi").text == "Hello, world"
    assert len(llama.params) == 1


def test_a_load_does_not_hold_up_the_event_loop(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.may_load.clear()

    async def main() -> str:
        async with router_of(config) as router:
            call = asyncio.create_task(router.complete_async("r", "hi"))
            while not llama.loading.is_set():
                await asyncio.sleep(0.001)
            assert not call.done()
            llama.may_load.set()
            return (await call).text

    assert asyncio.run(main()) == "Hello, world"


def test_a_failed_load_is_tried_again_by_the_next_call(llama: FakeLlama, config: dict[str, Any]) -> None:
    with router_of(config) as router:
        llama.load_error = RuntimeError("no")
        with pytest.raises(LLMRouterError):
            router.complete("r", "hi")
        llama.load_error = None
        assert router.complete("r", "hi").text == "Hello, world"


def test_each_call_that_waits_for_a_failing_load_gets_an_error_of_its_own(
    llama: FakeLlama, config: dict[str, Any]
) -> None:
    llama.load_error = RuntimeError("no")

    def failing(router: LeeLLMRouter) -> LLMRouterError:
        with pytest.raises(LLMRouterError) as caught:
            router.complete("r", "hi")
        return caught.value

    with router_of(config, max_concurrency=8) as router, ThreadPoolExecutor(8) as pool:
        errors = list(pool.map(lambda _: failing(router), range(8)))
    assert len({id(error) for error in errors}) == 8
    assert {error.failure_type for error in errors} == {FailureType.MODEL_NOT_FOUND}
    assert llama.most_loads_at_once == 1


class Endless:
    """Makes an answer go on until it is stopped."""

    def __init__(self, llama: FakeLlama) -> None:
        from helpers.fake_llama import answer

        self.seen = threading.Event()
        self.events = answer(["word "] * 100_000)
        self.gate = threading.Event()
        llama.replies.append(self.events)
        llama.may_go_on = self._wait

    def _wait(self, index: int) -> None:
        if index > 5:
            self.seen.set()
            self.gate.wait(0.002)


def test_a_call_whose_time_is_up_is_stopped(llama: FakeLlama, config: dict[str, Any]) -> None:
    """The next call finds its slot free."""
    endless = Endless(llama)
    with router_of(config) as router:
        with pytest.raises(LLMTimeoutError):
            router.complete("r", "hi", timeout=0.3)
        endless.gate.set()
        assert router.complete("r", "hi").text == "Hello, world"
    assert llama.stopped_after and llama.stopped_after[0] < 100_000


@pytest.mark.parametrize("form", ["complete", "stream"])
def test_a_cancelled_call_is_stopped(llama: FakeLlama, config: dict[str, Any], form: str) -> None:
    Endless(llama)
    memory = Memory()

    async def main() -> str:
        router = LeeLLMRouter(config, trace_store=memory)

        async def read() -> None:
            async for _ in router.stream_async("r", "hi"):
                pass

        call = router.complete_async("r", "hi") if form == "complete" else read()
        task = asyncio.ensure_future(call)
        while not llama.answering.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        text = (await router.complete_async("r", "hi")).text
        await router.aclose()
        return text

    assert asyncio.run(main()) == "Hello, world"
    assert [record.outcome for record in memory.records] == ["cancelled", "ok"]
    assert llama.stopped_after and llama.stopped_after[0] < 100_000
    assert gone(llama)


def test_a_stream_that_is_left_is_stopped(llama: FakeLlama, config: dict[str, Any]) -> None:
    Endless(llama)
    with router_of(config) as router:
        for _ in router.stream("r", "hi"):
            break
        assert router.complete("r", "hi").text == "Hello, world"
    assert llama.stopped_after and llama.stopped_after[0] < 100_000


def test_a_call_before_its_first_token_is_stopped_by_the_progress_of_its_prompt(
    llama: FakeLlama, config: dict[str, Any]
) -> None:
    reading = threading.Event()

    def slowly(index: int) -> None:
        if index == 1:
            reading.wait(PATIENCE)

    llama.may_go_on = slowly
    with router_of(config) as router:
        with pytest.raises(LLMTimeoutError):
            router.complete("r", "hi", timeout=0.1)
        reading.set()
        llama.may_go_on = lambda index: None
        router.complete("r", "hi")
    assert llama.stopped_after == [2]


def test_closing_stops_what_runs_and_destroys_the_model(llama: FakeLlama, config: dict[str, Any]) -> None:
    endless = Endless(llama)
    router = router_of(config)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(router.complete, "r", "hi")
        assert endless.seen.wait(PATIENCE)
        router.close()
        error = call.exception(PATIENCE)
    assert isinstance(error, LLMRouterError) and "closed while it answered" in error.message
    assert gone(llama)


def test_closing_during_a_load_destroys_the_model_when_it_is_there(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.may_load.clear()
    router = router_of(config)
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(router.complete, "r", "hi")
        assert llama.loading.wait(PATIENCE)
        closing = pool.submit(router.close)
        llama.may_load.set()
        assert isinstance(call.exception(PATIENCE), LLMRouterError)
        closing.result(PATIENCE)
    assert gone(llama)


def test_a_closed_router_and_its_model_may_be_followed_by_new_ones(llama: FakeLlama, config: dict[str, Any]) -> None:
    for _ in range(3):
        with router_of(config) as router:
            assert router.complete("r", "hi").text == "Hello, world"
        assert gone(llama)
    assert len(llama.params) == 3


def test_no_thread_is_left(llama: FakeLlama, config: dict[str, Any]) -> None:
    before = threading.active_count()
    with router_of(config, max_concurrency=4) as router, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: router.complete("r", "hi"), range(8)))
    for _ in range(1000):
        if threading.active_count() <= before:
            break
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_loads_the_model_anew_and_destroys_none(llama: FakeLlama, config: dict[str, Any]) -> None:
    """The parent's native threads do not exist in it: to destroy a server would wait for them for ever."""
    with router_of(config) as router:
        router.complete("r", "hi")
        pid = os.fork()
        if pid == 0:
            try:
                assert router.complete("r", "hi").text == "Hello, world"
                assert len(llama.params) == 2, "loaded anew"
                router.close()
                with router_of(config) as again:
                    again.complete("r", "hi")
                assert len(llama.params) == 2, "what was loaded here is kept"
                gc.collect()
                os._exit(0 if llama.alive == 2 else 3)
            except BaseException:
                os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert router.complete("r", "hi").text == "Hello, world"
    assert gone(llama)
