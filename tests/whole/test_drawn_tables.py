"""Pictures and tables in the documents are what the code makes of itself."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time

import pytest

from helpers import feature_table
from helpers.documents import ROOT
from helpers.shared_states import ReturningState
from helpers.support import END, Pieces, config_for, router_for
from lee_llm_router import InvalidRequestError, LeeLLMRouter, LLMTimeoutError, RouterEvent, register_state
from lee_llm_router.engine.failure_rules import RULES, FallbackRule, RetryRule
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.telemetry import EVENTS
from lee_llm_router.testing import After, Recorder, ScriptedRouter


def test_the_picture_of_the_architecture_is_drawn_from_the_imports_as_they_are() -> None:
    """After a change of the imports: ``python docs/draw_architecture.py``."""
    subprocess.run([sys.executable, str(ROOT / "docs/draw_architecture.py"), "--check"], check=True)


def test_the_screens_in_the_documents_are_what_the_commands_show_now() -> None:
    """After a change of what a command shows: ``python docs/draw_screens.py``; look at the pictures, too."""
    subprocess.run([sys.executable, str(ROOT / "docs/draw_screens.py"), "--check"], check=True)


def test_every_screen_is_small_loads_nothing_and_is_shown() -> None:
    """The pictures load no font from a network, as rich's own would."""
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs/screens").iterdir():
        picture = path.read_text(encoding="utf-8")
        assert path.stat().st_size < 60_000
        assert "url(" not in re.sub(r"url\(#", "", picture) and "@font-face" not in picture
        assert f"](screens/{path.name})" in page


def test_the_table_of_vendors_in_the_documents_is_made_from_the_data() -> None:
    """After a change of the table: ``python docs/list_vendors.py``."""
    subprocess.run([sys.executable, str(ROOT / "docs/list_vendors.py"), "--check"], check=True)


def test_the_table_of_features_is_what_tests_prove(request: pytest.FixtureRequest) -> None:
    """Each cell is proved by a test that is marked for it; none is open."""
    marks = feature_table.marks_of(request.session.items)
    cells = {(dialect, feature) for dialect in feature_table.DIALECTS for feature in feature_table.FEATURES}
    if not cells <= marks.keys():
        marks = feature_table.collected_marks()
    assert {feature for _, feature in marks} == set(feature_table.FEATURES)
    table = feature_table.table_of(marks)
    assert "?" not in table
    assert feature_table.table_in(feature_table.PAGE.read_text()) == table


def test_the_failure_table_of_the_documents_is_the_one_in_the_code() -> None:
    again = {
        RetryRule.NEVER: "no",
        RetryRule.BACKOFF: "after a backoff",
        RetryRule.LAST: "when no other is left",
        RetryRule.REPAIR: "at once, told what is wrong, `contract.repair` times",
    }
    onward = {
        FallbackRule.YES: "yes",
        FallbackRule.IF_ASKED: "if the role says so",
        FallbackRule.UNLESS_RAISE: "yes, unless `contract.on_failure` is `raise`",
        FallbackRule.NEVER: "no",
        FallbackRule.OTHER_PROVIDER: "of another provider",
    }
    in_code = {
        kind.value: [
            again[rule.again],
            onward[rule.onward],
            *("yes" if on else "no" for on in (rule.counts_against_target, rule.closes_gate, rule.rests)),
        ]
        for kind, rule in RULES.items()
    }
    in_text = {}
    for row in re.findall(r"^\| ([A-Z_]+) \|(.*)\|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE):
        in_text[row[0]] = [cell.strip() for cell in row[1].split("|")][1:]
    assert in_text == in_code


def _told() -> list[RouterEvent]:
    """Events of calls that go every way a call can go."""
    down, interrupt = error_for(FailureType.PROVIDER_ERROR, "x"), KeyboardInterrupt()
    config = config_for(
        {"a": [down, down, Pieces("a", END), interrupt, down, "answered", down], "b": ["ok"]},
        role={"retry": {"attempts": 2}},
    )
    health = config.health.model_copy(update={"failures_in_a_row": 2})
    router, memory, clock = router_for(config.model_copy(update={"health": health}))
    router.complete("r", "retried, then opening the breaker, then falling back")
    clock.advance(60)
    assert [chunk.text for chunk in router.stream("r", "closing the breaker")] == ["a", ""]
    with pytest.raises(KeyboardInterrupt):
        router.complete("r", "cancelled in its attempt")
    with pytest.raises(InvalidRequestError):
        router.complete("r", "refused before any", temprature=1)  # type: ignore[call-overload]
    clock.sleep = lambda seconds: clock.advance(3600)  # type: ignore[method-assign]
    with pytest.raises(LLMTimeoutError):
        router.complete("r", "out of time in a wait")
    router.complete("r", "answered")

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    clock.sleep = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        router.complete("r", "cancelled in a wait")
    keeping, kept, _ = router_for(config_for({"a": ["kept"]}, role={"cache": {"type": "memory"}}))
    for _ in range(2):
        keeping.complete("r", "answered, then kept")
    return [*memory.events, *kept.events, *_told_of_a_hedge(), *_told_of_a_state()]


def _told_of_a_hedge() -> list[RouterEvent]:
    providers = {name: {"type": "mock", "model": "m"} for name in "ab"}
    role = {"provider": "a", "fallback_providers": ["b"], "hedge": {"after": 1}}
    router = ScriptedRouter(
        {"llm": {"providers": providers, "roles": {"r": role}}}, answers={"a": After(9, "late"), "b": "ok"}
    )
    router.complete("r", "answered by a hedge")
    return list(router.recorder.events)


def _told_of_a_state() -> list[RouterEvent]:
    register_state("returning", ReturningState, replace=True)
    recorder, config = Recorder(), config_for({"a": ["ok"]})
    state = ReturningState.config_model(type="returning")
    with LeeLLMRouter(config.model_copy(update={"state": state}), trace_store=False, event_sink=recorder):
        for _ in range(2000):
            if recorder.named("state.joined"):
                break
            time.sleep(0.005)
    return recorder.events


def test_the_table_of_events_is_what_is_sent() -> None:
    """A router sends every event of the table, and each with exactly the data of its row."""
    assert {(e.event, frozenset(e.data)) for e in _told()} == {(kind.name, frozenset(kind.data)) for kind in EVENTS}
    assert len({kind.name for kind in EVENTS}) == len(EVENTS)


def test_the_documents_show_the_table_of_events() -> None:
    """Row by row: name, level, data and meaning."""
    section = (ROOT / "docs/telemetry.md").read_text().partition("\n## Events\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \|(.*?)\| (.*) \|$", section, re.MULTILINE)
    shown = [(name, level, tuple(re.findall(r"`(\w+)`", data)), meaning) for name, level, data, meaning in rows]
    assert shown == [(kind.name, logging.getLevelName(kind.level).lower(), kind.data, kind.meaning) for kind in EVENTS]
