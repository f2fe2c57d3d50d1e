"""Hedging: a second target is asked beside a slow one, the first good answer counts, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import (
    ConfigError,
    EmbeddingRequest,
    EmbeddingResponse,
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    LLMRouterError,
    LLMTimeoutError,
    Provider,
    ProviderConfig,
    register,
)
from lee_llm_router.embeddings import EmbeddedBatch
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.providers.base import Capabilities
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response import StreamChunk
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.testing import After, Pieces, ScriptedRouter

Ask = Callable[..., LLMResponse]


def _complete(router: ScriptedRouter, **options: Any) -> LLMResponse:
    return router.complete("r", "hi", **options)


def _complete_async(router: ScriptedRouter, **options: Any) -> LLMResponse:
    return asyncio.run(router.complete_async("r", "hi", **options))


def _stream(router: ScriptedRouter, **options: Any) -> LLMResponse:
    with router.stream("r", "hi", **options) as stream:
        text = "".join(chunk.text for chunk in stream)
    assert text == stream.response.text
    return stream.response


def _stream_async(router: ScriptedRouter, **options: Any) -> LLMResponse:
    async def main() -> LLMResponse:
        async with router.stream_async("r", "hi", **options) as stream:
            text = "".join([chunk.text async for chunk in stream])
        assert text == stream.response.text
        return stream.response

    return asyncio.run(main())


FORMS = {
    "complete": _complete, "complete_async": _complete_async, "stream": _stream, "stream_async": _stream_async,
}  # fmt: skip


@pytest.fixture(params=FORMS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each of the four forms of a call."""
    return FORMS[request.param]


def _router(
    answers: Mapping[str, Any], hedge: Mapping[str, Any] | None = None, providers: Any = None, **role: Any
) -> ScriptedRouter:
    """Return a router with a role `r`, whose chain is the keys of `answers`; hedged after a second."""
    first, *others = answers
    described = {name: {"type": "mock", "model": "m", **(providers or {}).get(name, {})} for name in answers}
    asked = {"provider": first, "fallback_providers": others, "hedge": {"after": 1, **(hedge or {})}, **role}
    return ScriptedRouter({"llm": {"providers": described, "roles": {"r": asked}}}, answers=answers)


def _told(router: ScriptedRouter) -> list[tuple[Any, ...]]:
    """Return attempt, provider, outcome, verdict and hedge of each record."""
    return [(r.attempt, r.provider, r.outcome, r.verdict, r.hedge) for r in router.recorder.records]


def _assert_nothing_is_held(router: ScriptedRouter) -> None:
    """Every permit is back, and no attempt goes on."""
    assert {target: health.in_flight for target, health in router.health().items() if health.in_flight} == {}
    for thread in threading.enumerate():
        if thread.name.startswith("lee-llm-router"):
            thread.join(5)
            assert not thread.is_alive()


def _failure(kind: FailureType = FailureType.PROVIDER_ERROR, **details: Any) -> LLMRouterError:
    return error_for(kind, "broken", **details)


def test_a_second_target_is_asked_beside_a_slow_one_and_the_first_answer_counts(ask: Ask) -> None:
    """The slow one is ended at once: the call takes no longer than the hedge, and the traces say which is which."""
    router = _router({"a": After(20, "slow"), "b": After(0.5, "quick")})
    assert ask(router).text == "quick"
    assert router.clock.now == 1.5
    slow, quick = router.recorder.records
    assert _told(router) == [(0, "a", "cancelled", "next", False), (1, "b", "ok", "return", True)]
    assert (slow.elapsed_ms, slow.offset_ms, quick.elapsed_ms, quick.offset_ms) == (1500, 0, 500, 1000)
    assert slow.error == "not waited for: b/m answered first" and slow.failure_type is None and slow.usage is None
    assert quick.reason is not None and quick.reason.startswith("hedge: a/m had not ")
    _assert_nothing_is_held(router)


def test_a_first_target_that_answers_after_all_ends_the_hedge(ask: Ask) -> None:
    router = _router({"a": After(1.2, "first"), "b": After(5, "late")})
    assert ask(router).text == "first"
    assert router.clock.now == 1.2
    assert _told(router) == [(1, "b", "cancelled", "next", True), (0, "a", "ok", "return", False)]
    assert router.recorder.records[1].reason == "first of the chain"
    _assert_nothing_is_held(router)


def test_a_target_that_answers_in_time_is_the_only_one_asked(ask: Ask) -> None:
    router = _router({"a": After(0.9, "in time"), "b": "never asked"})
    assert ask(router).text == "in time"
    assert not router.requests("b")
    assert _told(router) == [(0, "a", "ok", "return", False)]


def test_after_a_failure_the_call_goes_on_with_the_hedge_under_way(ask: Ask) -> None:
    """Nobody is asked a second time for it: neither the target that failed nor a third one."""
    router = _router({"a": After(1.5, _failure()), "b": After(3, "second"), "c": "never asked"})
    assert ask(router).text == "second"
    assert (router.clock.now, len(router.requests("a")), len(router.requests("c"))) == (4.0, 1, 0)
    assert _told(router) == [(0, "a", "error", "next", False), (1, "b", "ok", "return", True)]
    _assert_nothing_is_held(router)


def test_after_a_failure_of_the_hedge_the_call_goes_on_with_the_first(ask: Ask) -> None:
    router = _router({"a": After(4, "first"), "b": _failure()})
    assert ask(router).text == "first"
    assert router.clock.now == 4.0
    assert _told(router) == [(1, "b", "error", "next", True), (0, "a", "ok", "return", False)]
    assert router.recorder.records[1].reason == "first of the chain"
    _assert_nothing_is_held(router)


def test_when_both_have_failed_the_usual_rules_say_what_comes_next(ask: Ask) -> None:
    router = _router({"a": After(1.5, _failure(final=True)), "b": After(1, _failure(final=True)), "c": "third"})
    assert ask(router).text == "third"
    assert [(r.provider, r.outcome, r.verdict) for r in router.recorder.records] == [
        ("a", "error", "next"), ("b", "error", "next"), ("c", "ok", "return"),
    ]  # fmt: skip
    _assert_nothing_is_held(router)


def test_the_error_of_a_hedged_call_carries_every_attempt(ask: Ask) -> None:
    router = _router({"a": After(1.5, _failure(final=True)), "b": After(1, _failure(final=True))})
    with pytest.raises(LLMRouterError) as caught:
        ask(router)
    assert [record.provider for record in caught.value.attempts] == ["a", "b"]
    assert router.recorder.records[-1].verdict == "raise"
    _assert_nothing_is_held(router)


@pytest.mark.parametrize("ask", [_complete, _complete_async], ids=["complete", "complete_async"])
def test_an_answer_that_breaks_its_contract_leaves_the_other_to_answer(ask: Ask) -> None:
    """Even where a broken contract ends a call: there is another answer to wait for."""
    router = _router(
        {"a": After(2, '{"n": 1}'), "b": "no JSON"}, json_mode=True, contract={"repair": 0, "on_failure": "raise"}
    )
    assert ask(router).parsed == {"n": 1}
    assert router.recorder.records[0].failure_type == "CONTRACT_VIOLATION"
    _assert_nothing_is_held(router)


def test_an_answer_that_is_not_acceptable_leaves_the_other_to_answer(ask: Ask) -> None:
    whole = Pieces(StreamChunk(text="no", finish_reason="stop"))
    router = _router({"a": After(2, "long enough"), "b": whole}, accept={"min_chars": 5})
    assert ask(router).text == "long enough"
    assert _told(router) == [(1, "b", "error", "next", True), (0, "a", "ok", "return", False)]
    _assert_nothing_is_held(router)


def test_a_failure_that_ends_a_call_ends_both_attempts(ask: Ask) -> None:
    """What one vendor's filter has refused is not taken from another, unless the role says so."""
    router = _router({"a": After(9, "from elsewhere"), "b": _failure(FailureType.CONTENT_FILTER)})
    with pytest.raises(LLMRouterError) as caught:
        ask(router)
    assert caught.value.failure_type is FailureType.CONTENT_FILTER
    assert router.clock.now == 1.0
    assert _told(router) == [(0, "a", "cancelled", "next", False), (1, "b", "error", "raise", True)]
    _assert_nothing_is_held(router)


def test_as_many_are_asked_as_the_role_allows_each_after_another_wait(ask: Ask) -> None:
    router = _router({"a": After(20, "a"), "b": After(20, "b"), "c": "third", "d": "never asked"}, {"max": 2})
    assert ask(router).text == "third"
    assert [r.offset_ms for r in sorted(router.recorder.records, key=lambda r: r.attempt or 0)] == [0, 1000, 2000]
    assert not router.requests("d")
    _assert_nothing_is_held(router)


def test_the_deadline_ends_both(ask: Ask) -> None:
    router = _router({"a": After(60, "a"), "b": After(60, "b")}, deadline=5)
    with pytest.raises(LLMTimeoutError):
        ask(router)
    assert router.clock.now == 5.0
    assert {r.provider for r in router.recorder.records} == {"a", "b"}
    _assert_nothing_is_held(router)


def _router_with_another_role(a: Any, b: Any, described: Mapping[str, Any] = {}, **config: Any) -> ScriptedRouter:
    """Return a router whose role `r` is hedged from `a` to `b`, and whose role `o` asks `b` alone."""
    roles = {
        "r": {"provider": "a", "fallback_providers": ["b"], "hedge": {"after": 1}, **config.pop("role", {})},
        "o": {"provider": "b", "retry": {"attempts": 1, "patience": 0}},
    }
    providers = {"a": {"type": "mock", "model": "m"}, "b": {"type": "mock", "model": "m", **described}}
    llm = {"default_role": "r", "providers": providers, "roles": roles, **config}
    return ScriptedRouter({"llm": llm}, answers={"a": a, "b": b})


@pytest.mark.parametrize(
    "settings",
    [
        {"role": {"retry": {"max_attempts": 1}}},
        {"role": {"hedge": {"after": 1, "max": 0}}},
        {"health": {"retry_burst": 0}},
        {"described": {"rpm": 1}},
        {"health": {"failures_in_a_row": 1, "cooldown": 60, "max_cooldown": 60}},
        {"described": {"type": "codex_cli"}},
        {"role": {"deadline": 1}},
    ],
    ids=["no attempt is left", "its role says never", "the retry budget is spent", "the other is at its limit",
         "the other's breaker is open", "the other runs a program", "no time is left"],
)  # fmt: skip
def test_nobody_is_asked_beside_a_slow_target_where(settings: dict[str, Any]) -> None:
    router = _router_with_another_role(After(4, "slow"), _failure(), **settings)
    if "codex_cli" not in str(settings):
        with pytest.raises(LLMRouterError):
            router.complete("o", "asked before")
    before = len(router.requests("b"))
    try:
        assert _complete(router).text == "slow"
    except LLMTimeoutError:
        assert "deadline" in str(settings)
    assert len(router.requests("b")) == before
    _assert_nothing_is_held(router)


def test_a_target_with_effects_is_asked_alone() -> None:
    """What may have changed something is not asked beside another, nor is another asked beside it."""
    command = {"type": "command", "argv": ["true"], "effects": "external"}
    router = _router({"a": After(4, "done"), "b": "never"}, providers={"a": command})
    assert _complete(router).text == "done"
    assert not router.requests("b")


def test_the_same_target_is_asked_once_more_only_where_the_role_says_so(ask: Ask) -> None:
    outcomes = [After(20, "slow"), "quick"]
    router = _router({"a": outcomes}, {"same_target": True})
    assert ask(router).text == "quick"
    assert [(r.attempt, r.target_attempt, r.hedge) for r in router.recorder.records] == [(0, 0, False), (1, 1, True)]
    router = _router({"a": outcomes})
    assert ask(router).text == "slow"


def test_a_hedge_is_paid_from_the_retry_budget_of_the_provider_that_is_slow() -> None:
    """Its own answers earn it: a provider that is slow all the time is not hedged for ever."""
    router = _router({"a": After(20, "slow"), "b": "quick"})
    for _ in range(100):
        assert _complete(router).text == "quick"
    left = {provider: health.retry_budget for (provider, _), health in router.health().items()}
    assert left == {"a": 0, "b": 100}
    assert _complete(router).text == "slow"


def test_a_call_may_say_when_it_is_hedged() -> None:
    router = _router({"a": After(20, "slow"), "b": "quick"})
    assert router.complete("r", "hi", hedge={"max": 0}).text == "slow"
    assert router.complete("r", "hi", hedge={"after": "3s"}).text == "quick"
    assert router.recorder.records[-1].offset_ms == 3000


def test_the_wait_may_go_by_the_earlier_answers_of_the_target(ask: Ask) -> None:
    """With `p90`, once nine of ten would have come; until twenty are known, nobody else is asked."""
    router = _router({"a": [*[After(n / 100, "usual") for n in range(1, 21)], After(9, "slow")], "b": "quick"},
                     {"after": "p90"})  # fmt: skip
    assert {ask(router).text for _ in range(20)} == {"usual"}
    assert ask(router).text == "quick"
    assert router.recorder.records[-1].offset_ms == pytest.approx(180, rel=0.06)


@pytest.mark.parametrize("after", ["p49", "p100", "p9", "soon", 0, -1, True, "1h", float("inf"), None])
def test_a_wait_that_is_none_is_a_finding(after: Any) -> None:
    with pytest.raises(ConfigError, match="after: seconds are wanted"):
        _router({"a": "x", "b": "x"}, {"after": after})


def test_a_cancelled_task_ends_both_attempts_and_both_are_traced() -> None:
    router = _router({"a": After(50, "a"), "b": After(50, "b")})

    async def main() -> None:
        task = asyncio.create_task(router.complete_async("r", "hi"))
        while len(router.requests("b")) < 1:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(5):  # a cancelled task ends when it is its turn
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert sorted((r.provider, r.outcome, r.failure_type, r.verdict) for r in router.recorder.records) == [
        ("a", "cancelled", "CANCELLED", "raise"), ("b", "cancelled", "CANCELLED", "raise"),
    ]  # fmt: skip
    _assert_nothing_is_held(router)


@pytest.mark.parametrize("form", [_complete, _stream], ids=["complete", "stream"])
def test_an_interrupt_while_both_run_ends_both_and_both_are_traced(form: Ask) -> None:
    router = _router({"a": After(50, "a"), "b": After(50, "b")})
    wait = router.clock.wait

    def interrupted(woken: Any, seconds: float) -> None:
        if router.requests("b"):
            raise KeyboardInterrupt
        wait(woken, seconds)

    router.clock.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        form(router)
    assert sorted((r.provider, r.outcome, r.verdict) for r in router.recorder.records) == [
        ("a", "cancelled", "raise"), ("b", "cancelled", "raise"),
    ]  # fmt: skip
    _assert_nothing_is_held(router)


def test_a_stream_that_is_left_early_gives_all_back() -> None:
    router = _router({"a": After(50, "a"), "b": Pieces("one ", "two ", "three")})
    stream = router.stream("r", "hi")
    assert next(stream).text == "one "
    stream.close()
    assert _told(router) == [(0, "a", "cancelled", "next", False), (1, "b", "cancelled", "raise", True)]
    _assert_nothing_is_held(router)


def test_a_closed_router_lets_the_attempt_under_way_answer() -> None:
    """As in a call without a hedge; but nobody else is asked."""
    router = _router({"a": After(4, "slow"), "b": "never"})
    wait = router.clock.wait

    def closing(woken: Any, seconds: float) -> None:
        router.close()
        wait(woken, seconds)

    router.clock.wait = closing  # type: ignore[method-assign]
    assert _complete(router).text == "slow"
    assert not router.requests("b")


@pytest.mark.parametrize("form", [_complete, _stream], ids=["complete", "stream"])
def test_where_no_thread_can_be_started_a_call_is_not_hedged(form: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine short of threads answers as it would without a hedge."""
    router = _router({"a": After(9, "slow"), "b": "never"})
    monkeypatch.setattr(threading.Thread, "start", _no_thread)
    assert form(router).text == "slow"
    assert _told(router) == [(0, "a", "ok", "return", False)]
    _assert_nothing_is_held(router)


def test_a_hedge_for_which_there_is_no_thread_costs_the_first_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    router = _router({"a": After(9, "slow"), "b": "never"})
    wait = router.clock.wait

    def short_of_threads(woken: Any, seconds: float) -> None:
        wait(woken, seconds)
        monkeypatch.setattr(threading.Thread, "start", _no_thread)

    router.clock.wait = short_of_threads  # type: ignore[method-assign]
    assert _complete(router).text == "slow"
    assert _told(router) == [(1, "b", "error", "next", True), (0, "a", "ok", "return", False)]
    _assert_nothing_is_held(router)


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_hedged_answer_is_no_fallback_and_the_other_attempt_no_failure() -> None:
    router = _router({"a": After(20, "slow"), "b": "quick"})
    _complete(router)
    call = TracedCall(router.recorder.records)
    assert (call.outcome, call.is_saved, call.is_hedge_won, call.tried) == ("ok", False, True, 2)
    router = _router({"a": After(1.5, "first"), "b": After(20, "slow")})
    _complete(router)
    call = TracedCall(router.recorder.records)
    assert (call.outcome, call.is_saved, call.is_hedge_won, call.total_ms) == ("ok", False, False, 1500)


class Stuck(Provider[ProviderConfig]):
    """Hangs until `released`, and keeps no timeout: it has to be left behind."""

    released = threading.Event()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        Stuck.released.wait(30)
        return LLMResponse(text="late")

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        while not Stuck.released.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        return LLMResponse(text="late")


register("stuck_beside", Stuck, replace=True)


def test_a_provider_that_cannot_be_ended_is_left_behind() -> None:
    """The call does not wait for it, and what it brings after all is thrown away."""
    Stuck.released.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    providers = {"a": {"type": "stuck_beside"}, "b": {"type": "mock", "response_text": "quick"}}
    router = LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}}}, trace_store=False)

    async def main() -> None:
        assert (await router.complete_async("r", "hi")).text == "quick"
        async with router.stream_async("r", "hi") as stream:
            assert "".join([chunk.text async for chunk in stream]) == "quick"
        Stuck.released.set()

    assert router.complete("r", "hi").text == "quick"
    with router.stream("r", "hi") as stream:
        assert "".join(chunk.text for chunk in stream) == "quick"
    asyncio.run(main())
    assert {health.in_flight for health in router.health().values()} == {0}
    router.close()


def test_a_hedge_gets_its_permit_from_a_shared_state(tmp_path: Path) -> None:
    """The state answers within milliseconds, and the target is asked then: there is another look for it."""
    Stuck.released.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    providers = {"a": {"type": "stuck_beside"}, "b": {"type": "mock", "response_text": "quick", "rpm": 600}}
    state = {"type": "sqlite", "path": str(tmp_path / "state.db"), "patience": 1}
    config = {"llm": {"state": state, "providers": providers, "roles": {"r": role}}}
    with LeeLLMRouter(config, trace_store=False) as router:
        assert router.complete("r", "hi").text == "quick"
        Stuck.released.set()


class Embedder(Stuck):
    """Embeds; the one named `a` hangs."""

    capabilities = Capabilities(embeddings=True)

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        if self.name == "a":
            Stuck.released.wait(30)
        request.done.append(EmbeddedBatch(vectors=tuple((1.0, 2.0) for _ in request.inputs)))
        return request.response()


register("embedder", Embedder, replace=True)


def test_embeddings_are_hedged_too() -> None:
    Stuck.released.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    config = {"llm": {"providers": {name: {"type": "embedder"} for name in "ab"}, "roles": {"r": role}}}
    with LeeLLMRouter(config, trace_store=False) as router:
        assert router.embed("r", ["one", "two"]).provider == "b"
        Stuck.released.set()


class Opened(ChunkStream):
    """A stream that comes too late, and counts whether it was closed."""

    closed = threading.Event()

    def pull(self, timeout: float) -> StreamChunk | None:
        return StreamChunk(text="late")

    def close(self) -> None:
        Opened.closed.set()


class LateStream(Stuck):
    """Opens a stream only once nobody wants it any more."""

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        Stuck.released.wait(30)
        return Opened()

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        await Stuck.complete_async(self, request, timeout)
        return Opened()


class BoundedLateStream(LateStream):
    """As above; it says that it keeps its timeout."""

    capabilities = Capabilities(bounded=True)


register("late_stream", LateStream, replace=True)
register("bounded_late_stream", BoundedLateStream, replace=True)


@pytest.mark.parametrize("kind", ["late_stream", "bounded_late_stream"])
@pytest.mark.parametrize("form", ["stream", "stream_async"])
def test_a_stream_that_opens_after_it_has_lost_is_closed(form: str, kind: str) -> None:
    Stuck.released.clear()
    Opened.closed.clear()
    role = {"provider": "a", "model": "m", "fallback_providers": ["b"], "hedge": {"after": 0.01}}
    providers = {"a": {"type": kind}, "b": {"type": "mock", "response_text": "quick"}}
    router = LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}}}, trace_store=False)

    async def main() -> None:
        async with router.stream_async("r", "hi") as stream:
            assert "".join([chunk.text async for chunk in stream]) == "quick"
        Stuck.released.set()
        for _ in range(200):
            await asyncio.sleep(0.01)
            if Opened.closed.is_set():
                break

    if form == "stream":
        assert FORMS[form](router).text == "quick"  # type: ignore[arg-type]
        Stuck.released.set()
    else:
        asyncio.run(main())
    assert Opened.closed.wait(5)
    router.close()
