"""What is known of a target is kept when the file is read again and nothing of the target has changed."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from helpers.gated_files import Gate, answer, text
from lee_llm_router import LeeLLMRouter
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.testing import FakeClock

pytestmark = pytest.mark.usefixtures("gates")


SHUT = text("says: one, fails: true", rest="  health: {failures_in_a_row: 1, cooldown: 50, max_cooldown: 50}\n")


def shut(gated_file: Path, content: str = SHUT) -> LeeLLMRouter:
    """Return a router whose target `p/m` has an open breaker."""
    gated_file.write_text(content)
    router = LeeLLMRouter(gated_file, trace_store=False, clock=FakeClock())
    with pytest.raises(LLMRouterError):
        answer(router)
    assert router.health()["p", "m"].state == "open"
    return router


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (("", ""), True),
        (("attempts: 1", "attempts: 2"), True),
        (("says: spare", "says: other"), True),
        (("    q: {type: gate, says: spare}\n", ""), True),
        (("says: one", "says: two"), False),
        (("fails: true", "fails: false"), False),
        (("cooldown: 50,", "cooldown: 40,"), False),
    ],
)
def test_health_is_kept_where_nothing_has_changed(gated_file: Path, change: tuple[str, str], kept: bool) -> None:
    """Of each provider whose settings are the same; under other settings of `health` all begins anew."""
    with shut(gated_file) as router:
        gated_file.write_text(SHUT.replace(*change))
        router.reload()
        assert (("p", "m") in router.health()) is kept
        Gate.asked.clear()
        with pytest.raises(LLMRouterError) if kept or "fails: true" in gated_file.read_text() else nullcontext():
            answer(router)
        assert Gate.asked == ([] if kept else ["p"])


def test_a_new_key_ends_what_was_known(gated_file: Path) -> None:
    """From the `.env`, which is read again as well; another of its variables changes nothing."""
    (gated_file.parent / ".env").write_text("GATE_KEY=one\nOTHER=one\n")
    with shut(gated_file, SHUT.replace("fails: true", "fails: true, api_key_env: GATE_KEY")) as router:
        (gated_file.parent / ".env").write_text("GATE_KEY=one\nOTHER=two\n")
        router.reload()
        assert ("p", "m") in router.health()
        (gated_file.parent / ".env").write_text("GATE_KEY=two\nOTHER=two\n")
        router.reload()
        assert ("p", "m") not in router.health()


@pytest.mark.parametrize("source", ["variable", "file"])
def test_a_key_renewed_where_it_stands_ends_what_was_known(
    gated_file: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings are the same, and the key is another: in the environment of the process, or in a file."""
    key = gated_file.parent / "key"

    def renew(value: str) -> None:
        monkeypatch.setenv("GATE_KEY", value)
        key.write_text(value)

    renew("one")
    setting = "api_key_env: GATE_KEY" if source == "variable" else f"api_key_file: {key}"
    with shut(gated_file, SHUT.replace("fails: true", f"fails: true, {setting}")) as router:
        router.reload()
        assert ("p", "m") in router.health()
        renew("another")
        router.reload()
        assert ("p", "m") not in router.health()


def test_a_limit_counts_calls_under_way_from_before(gated_file: Path) -> None:
    """A provider that has not changed has one limit, under both files."""
    limited = text("says: one, waits: true, max_concurrency: 1")
    gated_file.write_text(limited)
    with LeeLLMRouter(gated_file, trace_store=False) as router:
        caller = threading.Thread(target=answer, args=(router,))
        caller.start()
        assert Gate.entered.wait(10)
        gated_file.write_text(limited.replace("attempts: 1", "attempts: 2"))
        router.reload()
        assert router.health()["p", "m"].in_flight == 1
        Gate.opened.set()
        caller.join()
        assert router.health()["p", "m"].in_flight == 0
        assert answer(router) == "one"
