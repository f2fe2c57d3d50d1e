"""The recorder: everything a router tells its store and its sink, in order."""

from __future__ import annotations

from lee_llm_router import ProviderError
from lee_llm_router.testing import Recorder, ScriptedRouter


def test_a_recorder_can_be_shared_and_options_are_the_routers_own() -> None:
    mine = Recorder()
    router = ScriptedRouter(answers={"r": "yes"}, trace_store=mine, event_sink=mine)
    router.complete("r", "hi")
    assert mine.trail() == ["r ok return"] and mine.events[-1].event == "call.end"
    assert router.recorder.records == []


def test_a_recorder_can_be_asked() -> None:
    router = ScriptedRouter(answers={"r": [ProviderError("x"), "a", "b"]})
    first, second = router.complete("r", "x"), router.complete("r", "x")
    recorder = router.recorder
    assert [record.outcome for record in recorder.find(first.request_id or "")] == ["error", "ok"]
    assert recorder.last() == recorder.find(second.request_id or "")
    assert recorder.last(5) == recorder.records
    assert [event.data["failure_type"] for event in recorder.named("llm.complete.error")] == ["PROVIDER_ERROR"]
