"""For tests of applications: a router whose providers play scripts, on a simulated clock."""

from lee_llm_router._util.clock import Clock
from lee_llm_router.testing.fake_clock import FakeClock
from lee_llm_router.testing.recorder import Recorder
from lee_llm_router.testing.scripted_router import ScriptedRouter
from lee_llm_router.testing.scripts import After, Answers, Outcome, Pieces, ScriptedProvider, UnscriptedCallError

__all__ = [
    "After",
    "Answers",
    "Clock",
    "FakeClock",
    "Outcome",
    "Pieces",
    "Recorder",
    "ScriptedProvider",
    "ScriptedRouter",
    "UnscriptedCallError",
]
