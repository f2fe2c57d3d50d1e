"""The test mode for applications: real routing, played providers, no network, no real time."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import (
    AuthenticationError,
    LLMRequest,
    LLMResponse,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    RateLimitError,
    StreamChunk,
    load_config,
)
from lee_llm_router._clock import Clock
from lee_llm_router.testing import After, FakeClock, Outcome, Pieces, Recorder, ScriptedRouter, UnscriptedCallError

CONFIG = {
    "llm": {
        "providers": {"one": {"type": "http", "base_url": "http://127.0.0.1:1"}, "two": {"type": "codex_cli"}},
        "roles": {"r": {"provider": "one", "model": "m", "timeout": 10, "fallback_providers": ["two"]}},
    }
}


def test_a_run_is_repeatable_to_the_last_field() -> None:
    """Times, waits, records and events are the same each time, request ids aside."""

    def run() -> tuple[list[str], list[float], list[Any]]:
        router = ScriptedRouter(CONFIG, answers={"one": [ProviderError("x"), "yes"], "two": []})
        router.complete("r", "hi")
        fields = [(r.started_at, r.elapsed_ms, r.wait_ms, r.error) for r in router.recorder.records]
        return router.recorder.trail(), router.clock.sleeps, fields

    assert run() == run()
    assert run()[:2] == (["one/m PROVIDER_ERROR retry", "one/m ok return"], [0.25])


def test_the_applications_own_configuration_is_what_is_tested(tmp_path: Path) -> None:
    """Chain, models, settings and capabilities are those of the file; only the providers are played."""
    router = ScriptedRouter(load_config(CONFIG), answers={"one": AuthenticationError("no"), "two": ["b", "never"]})
    assert router.complete("r", "hi").provider == "two"
    assert [request.model for request in router.requests("one")] == ["m"]
    assert router.unused() == {"two": ["never"]}
    with pytest.raises(LLMRouterError, match=r"expired|no"):
        router.complete("r", "hi", tools=[{"type": "function", "function": {"name": "f"}}])
    assert "skipped" in [record.outcome for record in router.recorder.records], "codex_cli takes no tools"
    with pytest.raises(ValueError, match="answers for thre, but the providers are one, two"):
        ScriptedRouter(CONFIG, answers={"thre": "x"})


def test_asking_for_more_than_is_scripted_fails_the_test_and_no_fallback_hides_it() -> None:
    router = ScriptedRouter(CONFIG, answers={"one": ["only one"], "two": "always"})
    router.complete("r", "hi")
    with pytest.raises(UnscriptedCallError, match="'one' was asked"):
        router.complete("r", "hi")

    async def more() -> None:
        await router.complete_async("r", "hi")

    with pytest.raises(UnscriptedCallError):
        asyncio.run(more())


def test_every_kind_of_outcome() -> None:
    """Texts, whole answers, exceptions, functions of the request, slow ones; sync, async, streamed."""

    def echo(request: LLMRequest) -> str:
        return str(request.messages[-1]["content"])[::-1]

    whole = LLMResponse(text="whole", finish_reason="length")
    answers: list[Outcome] = [echo, whole, After(3, "slow"), Pieces("a", StreamChunk(text="b", finish_reason="length"))]
    router = ScriptedRouter(CONFIG, answers={"one": answers, "two": []})
    assert router.complete("r", "abc").text == "cba"
    assert router.complete("r", "x").finish_reason == "length"
    assert router.complete("r", "x").text == "slow" and router.clock.monotonic() == 3
    joined = router.complete("r", "x")
    assert (joined.text, joined.finish_reason) == ("ab", "length")

    router = ScriptedRouter(CONFIG, answers={"one": After(60, "late"), "two": ["in time"]})
    assert router.complete("r", "x").text == "in time"
    assert router.clock.monotonic() == 10, "the role's timeout, on the clock"

    router = ScriptedRouter(answers={"r": ["one two  three", RateLimitError("no"), whole, Pieces("half", whole=False)]})
    assert [chunk.text for chunk in router.stream("r", "x")] == ["one ", "two  ", "three", ""]

    async def stream() -> list[str]:
        return [chunk.text async for chunk in router.stream_async("r", "x")]

    assert asyncio.run(stream()) == ["whole"]
    with pytest.raises(LLMRouterError, match="finish reason"):
        router.complete("r", "x", deadline=0.01)


def test_the_fake_clock_is_a_clock_and_never_sleeps_for_real() -> None:
    clock = FakeClock()
    assert isinstance(clock, Clock)
    clock.sleep(3600)
    asyncio.run(clock.sleep_async(3600))
    clock.advance(1)
    assert (clock.monotonic(), clock.sleeps) == (7201, [3600, 3600])
    router = ScriptedRouter(CONFIG, answers={"one": After(1e6, "x"), "two": After(1e6, "x")})
    with pytest.raises(LLMTimeoutError):
        router.complete("r", "hi")


def test_a_recorder_can_be_shared_and_options_are_the_routers_own() -> None:
    mine = Recorder()
    router = ScriptedRouter(answers={"r": "yes"}, trace_store=mine, event_sink=mine)
    router.complete("r", "hi")
    assert mine.trail() == ["r ok return"] and mine.events[-1].name == "llm.complete.success"
    assert router.recorder.records == []


def test_the_fixture_works_as_the_document_says(tmp_path: Path) -> None:
    """The pytest blocks of docs/testing.md, in a fresh pytest run."""
    document = Path(__file__).parent.parent / "docs" / "testing.md"
    for name, text in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", document.read_text(), re.DOTALL):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert run.returncode == 0 and "1 passed" in run.stdout, run.stdout + run.stderr


def test_the_fixture_closes_what_it_made(llm_router: Any) -> None:
    """And makes any number of routers."""
    first, second = llm_router(a="1"), llm_router(b=["2"])
    assert (first.complete("a", "x").text, second.complete(None, "x").text) == ("1", "2")
