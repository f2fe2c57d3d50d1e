"""A router reads its file again: new calls follow it, calls under way end as they began, and health is kept."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, ClassVar

import pytest

from helpers.servers import eventually
from lee_llm_router import LeeLLMRouter, LLMClient
from lee_llm_router.config import load_config
from lee_llm_router.errors import ConfigError, LLMRouterError, ProviderError, RouterClosedError
from lee_llm_router.policy import SimpleRoutingPolicy
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.keys import KeyedConfig
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.plugins import SINKS
from lee_llm_router.testing import FakeClock, ScriptedRouter


class GateConfig(KeyedConfig):
    says: str = "?"
    fails: bool = False
    waits: bool = False


class Gate(Provider[GateConfig]):
    """Answers what its settings say; where they say so, only once the test lets it."""

    config_model = GateConfig
    entered = threading.Event()
    opened = threading.Event()
    closed: ClassVar[list[str]] = []
    asked: ClassVar[list[str]] = []

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        self.asked.append(self.name)
        if self.config.waits:
            self.entered.set()
            assert self.opened.wait(10)
        if self.config.fails:
            raise ProviderError("down")
        return LLMResponse(text=self.config.says)

    def close(self) -> None:
        self.closed.append(self.config.says)


class Sink:
    config_model = PluginSettings
    closed = 0

    def __init__(self, settings: PluginSettings) -> None:
        pass

    def emit(self, event: Any) -> None:
        pass

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def _plugins() -> Iterator[None]:
    registry.register("gate", Gate, replace=True)
    SINKS.register("closing_sink", Sink, replace=True)
    Gate.entered.clear()
    Gate.opened.clear()
    Gate.closed.clear()
    Gate.asked.clear()
    Sink.closed = 0
    yield
    Gate.opened.set()


def text(provider: str = "says: one", role: str = "", rest: str = "") -> str:
    return (
        f"llm:\n  providers:\n    p: {{type: gate, {provider}}}\n    q: {{type: gate, says: spare}}\n"
        f"  roles:\n    r: {{provider: p, model: m, retry: {{attempts: 1, patience: 0}}{role}}}\n{rest}"
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "llm.yaml"
    path.write_text(text())
    return path


def answer(router: LeeLLMRouter) -> str:
    return router.complete("r", "x").text


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("source", ["path", "text path", "loaded", "client"])
def test_new_calls_follow_the_new_file(file: Path, how: str, source: str) -> None:
    """Whole, streamed and resolved; however the router came to the file."""
    given: Any = {"path": file, "text path": str(file), "loaded": load_config(file), "client": file}[source]
    router = LLMClient(given).router if source == "client" else LeeLLMRouter(given)
    with router:
        assert answer(router) == "one"
        file.write_text(text("says: two", ", temperature: 0.5"))
        assert answer(router) == "one"
        if how == "sync":
            router.reload()
        else:
            asyncio.run(router.reload_async())
        assert answer(router) == "two"
        assert router.config.roles["r"].temperature == 0.5
        assert router.resolve("r")[0].fields == {"temperature": 0.5}
        with router.stream("r", "x") as stream:
            assert "".join(chunk.text for chunk in stream) == "two"


def test_a_relative_file_is_found_again_from_elsewhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    with LeeLLMRouter.from_file("llm.yaml") as router:
        monkeypatch.chdir("/")
        file.write_text(text("says: two"))
        router.reload()
        assert answer(router) == "two"


@pytest.mark.parametrize(
    "broken", ["llm: {", "", text("sayz: x"), text() + "    s: {provider: nobody}\n", text(rest="  policy: no_such\n"),
               text(rest="  trace: {workspace: ~nobody-at-all/x}\n"), None, "fifo"],
)  # fmt: skip
def test_a_broken_file_leaves_the_old_one_in_force(file: Path, broken: str | None) -> None:
    with LeeLLMRouter(file) as router:
        file.unlink()
        if broken == "fifo":
            os.mkfifo(file)
        elif broken is not None:
            file.write_text(broken)
        config = router.config
        with pytest.raises(ConfigError):
            router.reload()
        assert answer(router) == "one"
        assert router.config is config
        assert Gate.closed == []


@pytest.mark.parametrize("source", [text(), {"llm": {"providers": {"p": {"type": "mock"}},
                                                     "roles": {"r": {"provider": "p"}}}}])  # fmt: skip
def test_without_a_file_there_is_none_to_read_again(source: Any) -> None:
    with LeeLLMRouter(source, trace_store=False) as router, pytest.raises(ConfigError, match="not built from a file"):
        router.reload()


def test_a_closed_router_reads_nothing(file: Path) -> None:
    router = LeeLLMRouter(file)
    router.close()
    with pytest.raises(RouterClosedError):
        router.reload()


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_a_call_under_way_ends_under_the_old_file(file: Path, kind: str) -> None:
    """Its fallback too is the old one; and what it uses is closed when it has ended, not before."""
    file.write_text(text("says: one, waits: true, fails: true", ", fallback_providers: [q]"))
    found: list[str] = []
    with LeeLLMRouter(file, trace_store=False) as router:

        def call() -> None:
            if kind == "whole":
                found.append(answer(router))
            else:
                with router.stream("r", "x") as stream:
                    found.append("".join(chunk.text for chunk in stream))

        caller = threading.Thread(target=call)
        caller.start()
        assert Gate.entered.wait(10)
        file.write_text("llm: {providers: {new: {type: gate, says: new}}, roles: {r: {provider: new}}}\n")
        router.reload()
        assert answer(router) == "new"
        assert Gate.closed == []
        Gate.opened.set()
        caller.join()
        gc.collect()
        assert found == ["spare"]
        assert eventually(lambda: sorted(Gate.closed) == ["one", "spare"])
    assert sorted(Gate.closed) == ["new", "one", "spare"]


def test_closing_the_router_closes_what_old_files_have_left(file: Path) -> None:
    """Also where a call under way still holds it."""
    router = LeeLLMRouter(file, trace_store=False)
    stream = router.stream("r", "x")
    next(iter(stream))
    for number in range(3):
        file.write_text(text(f"says: n{number}"))
        router.reload()
        answer(router)
    assert Gate.closed == ["n0", "n1"]
    router.close()
    assert sorted(Gate.closed) == ["n0", "n1", "n2", "one"]
    stream.close()


SHUT = text("says: one, fails: true", rest="  health: {failures_in_a_row: 1, cooldown: 50, max_cooldown: 50}\n")


def shut(file: Path, content: str = SHUT) -> LeeLLMRouter:
    """Return a router whose target `p/m` has an open breaker."""
    file.write_text(content)
    router = LeeLLMRouter(file, trace_store=False, clock=FakeClock())
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
def test_health_is_kept_where_nothing_has_changed(file: Path, change: tuple[str, str], kept: bool) -> None:
    """Of each provider whose settings are the same; under other settings of `health` all begins anew."""
    with shut(file) as router:
        file.write_text(SHUT.replace(*change))
        router.reload()
        assert (("p", "m") in router.health()) is kept
        Gate.asked.clear()
        with pytest.raises(LLMRouterError) if kept or "fails: true" in file.read_text() else nullcontext():
            answer(router)
        assert Gate.asked == ([] if kept else ["p"])


def test_a_new_key_ends_what_was_known(file: Path) -> None:
    """From the `.env`, which is read again as well; another of its variables changes nothing."""
    (file.parent / ".env").write_text("GATE_KEY=one\nOTHER=one\n")
    with shut(file, SHUT.replace("fails: true", "fails: true, api_key_env: GATE_KEY")) as router:
        (file.parent / ".env").write_text("GATE_KEY=one\nOTHER=two\n")
        router.reload()
        assert ("p", "m") in router.health()
        (file.parent / ".env").write_text("GATE_KEY=two\nOTHER=two\n")
        router.reload()
        assert ("p", "m") not in router.health()


@pytest.mark.parametrize("source", ["variable", "file"])
def test_a_key_renewed_where_it_stands_ends_what_was_known(
    file: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings are the same, and the key is another: in the environment of the process, or in a file."""
    key = file.parent / "key"

    def renew(value: str) -> None:
        monkeypatch.setenv("GATE_KEY", value)
        key.write_text(value)

    renew("one")
    setting = "api_key_env: GATE_KEY" if source == "variable" else f"api_key_file: {key}"
    with shut(file, SHUT.replace("fails: true", f"fails: true, {setting}")) as router:
        router.reload()
        assert ("p", "m") in router.health()
        renew("another")
        router.reload()
        assert ("p", "m") not in router.health()


def test_a_limit_counts_calls_under_way_from_before(file: Path) -> None:
    """A provider that has not changed has one limit, under both files."""
    limited = text("says: one, waits: true, max_concurrency: 1")
    file.write_text(limited)
    with LeeLLMRouter(file, trace_store=False) as router:
        caller = threading.Thread(target=answer, args=(router,))
        caller.start()
        assert Gate.entered.wait(10)
        file.write_text(limited.replace("attempts: 1", "attempts: 2"))
        router.reload()
        assert router.health()["p", "m"].in_flight == 1
        Gate.opened.set()
        caller.join()
        assert router.health()["p", "m"].in_flight == 0
        assert answer(router) == "one"


def test_traces_go_where_the_new_file_says(file: Path) -> None:
    """The store is the same one as long as the section `trace` is; the old one is closed."""
    with LeeLLMRouter(file) as router:
        first: Any = router.trace_store
        closed: list[bool] = []
        first.close = lambda: closed.append(True)
        answer(router)
        file.write_text(text("says: two"))
        router.reload()
        assert router.trace_store is first and not closed
        file.write_text(text("says: two", rest="  trace: {dir: other}\n"))
        router.reload()
        second: Any = router.trace_store
        answer(router)
        assert (second.trace_dir, len(second.last(9))) == (file.parent / "other", 1)
        assert closed == [True]
        file.write_text(text(rest="  trace: {enabled: false}\n"))
        router.reload()
        assert router.trace_store is None


def test_sinks_and_policies_are_kept_or_replaced(file: Path) -> None:
    file.write_text(text(rest="  sinks: [closing_sink]\n"))
    with LeeLLMRouter(file, trace_store=False) as router:
        policy = router.policy
        router.reload()
        assert (Sink.closed, router.policy) == (0, policy)
        file.write_text(text())
        router.reload()
        assert Sink.closed == 1
    assert Sink.closed == 1
    given = SimpleRoutingPolicy()
    with LeeLLMRouter(file, trace_store=False, policy=given) as router:
        router.reload()
        assert router.policy is given


def test_callers_notice_nothing_but_the_change(file: Path) -> None:
    """Calls from several threads while the file is read again and again: each is answered by one or the other."""
    answers: list[str] = []
    stop = threading.Event()
    with LeeLLMRouter(file, trace_store=False) as router:

        def call() -> None:
            while not stop.is_set():
                answers.append(answer(router))

        def has_answers(number: int) -> bool:
            return eventually(lambda: len(answers) >= number)

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for number in range(30):
            file.write_text(text(f"says: {'two' if number % 2 else 'one'}"))
            router.reload()
            # So many that one of them at least began after it: of four, each may have been under way.
            assert has_answers(len(answers) + 5)
        stop.set()
        for caller in callers:
            caller.join()
    assert set(answers) <= {"one", "two"}
    gc.collect()
    assert eventually(lambda: len(Gate.closed) >= 20)


def test_a_scripted_router_reads_its_file_again(file: Path) -> None:
    """What the new file adds has no script, and must not be asked."""
    with ScriptedRouter(file, answers={"p": ["first", "second"]}) as router:
        assert answer(router) == "first"
        file.write_text(text().replace("q:", "new:"))
        router.reload()
        assert answer(router) == "second"


@pytest.mark.parametrize("how", [pickle.dumps, copy, deepcopy])
def test_a_router_says_why_it_cannot_be_pickled(file: Path, how: Any) -> None:
    """It holds connections and locks; its configuration can be pickled, and gives a router elsewhere."""
    with LeeLLMRouter(file, trace_store=False) as router:
        with pytest.raises(TypeError, match=r"Build one in each process.*can be pickled"):
            how(router)
        with LeeLLMRouter(pickle.loads(pickle.dumps(router.config)), trace_store=False) as other:
            assert answer(other) == "one"
            other.reload()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_reads_its_file_again_counts_its_own_calls(tmp_path: Path) -> None:
    file = tmp_path / "llm.yaml"
    file.write_text("llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, model: m}}}")
    with LeeLLMRouter(file, trace_store=False) as router:
        answer(router)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                file.write_text("llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, model: m, seed: 1}}}")
                router.reload()
                answer(router)
                os.write(writer, str([health.in_flight for health in router.health().values()]).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 100) == b"[0]"
