"""A router reads its file again: new calls follow it, calls under way end as they began, and health is kept."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import pytest

from helpers.gated_files import Gate, Sink, answer, text
from helpers.servers import eventually
from lee_llm_router import LeeLLMRouter, LLMClient
from lee_llm_router.config import load_config
from lee_llm_router.errors import ConfigError, RouterClosedError
from lee_llm_router.policy import SimpleRoutingPolicy
from lee_llm_router.testing import ScriptedRouter

pytestmark = pytest.mark.usefixtures("gates")


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("source", ["path", "text path", "loaded", "client"])
def test_new_calls_follow_the_new_file(gated_file: Path, how: str, source: str) -> None:
    """Whole, streamed and resolved; however the router came to the file."""
    given: Any = {
        "path": gated_file,
        "text path": str(gated_file),
        "loaded": load_config(gated_file),
        "client": gated_file,
    }[source]
    router = LLMClient(given).router if source == "client" else LeeLLMRouter(given)
    with router:
        assert answer(router) == "one"
        gated_file.write_text(text("says: two", ", temperature: 0.5"))
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


def test_a_relative_file_is_found_again_from_elsewhere(gated_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gated_file.parent)
    with LeeLLMRouter.from_file("llm.yaml") as router:
        monkeypatch.chdir("/")
        gated_file.write_text(text("says: two"))
        router.reload()
        assert answer(router) == "two"


@pytest.mark.parametrize(
    "broken", ["llm: {", "", text("sayz: x"), text() + "    s: {provider: nobody}\n", text(rest="  policy: no_such\n"),
               text(rest="  trace: {workspace: ~nobody-at-all/x}\n"), None, "fifo"],
)  # fmt: skip
def test_a_broken_file_leaves_the_old_one_in_force(gated_file: Path, broken: str | None) -> None:
    with LeeLLMRouter(gated_file) as router:
        gated_file.unlink()
        if broken == "fifo":
            os.mkfifo(gated_file)
        elif broken is not None:
            gated_file.write_text(broken)
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


def test_a_closed_router_reads_nothing(gated_file: Path) -> None:
    router = LeeLLMRouter(gated_file)
    router.close()
    with pytest.raises(RouterClosedError):
        router.reload()


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_a_call_under_way_ends_under_the_old_file(gated_file: Path, kind: str) -> None:
    """Its fallback too is the old one; and what it uses is closed when it has ended, not before."""
    gated_file.write_text(text("says: one, waits: true, fails: true", ", fallback_providers: [q]"))
    found: list[str] = []
    with LeeLLMRouter(gated_file, trace_store=False) as router:

        def call() -> None:
            if kind == "whole":
                found.append(answer(router))
            else:
                with router.stream("r", "x") as stream:
                    found.append("".join(chunk.text for chunk in stream))

        caller = threading.Thread(target=call)
        caller.start()
        assert Gate.entered.wait(10)
        gated_file.write_text("llm: {providers: {new: {type: gate, says: new}}, roles: {r: {provider: new}}}\n")
        router.reload()
        assert answer(router) == "new"
        assert Gate.closed == []
        Gate.opened.set()
        caller.join()
        gc.collect()
        assert found == ["spare"]
        assert eventually(lambda: sorted(Gate.closed) == ["one", "spare"])
    assert sorted(Gate.closed) == ["new", "one", "spare"]


def test_closing_the_router_closes_what_old_files_have_left(gated_file: Path) -> None:
    """Also where a call under way still holds it."""
    router = LeeLLMRouter(gated_file, trace_store=False)
    stream = router.stream("r", "x")
    next(iter(stream))
    for number in range(3):
        gated_file.write_text(text(f"says: n{number}"))
        router.reload()
        answer(router)
    assert Gate.closed == ["n0", "n1"]
    router.close()
    assert sorted(Gate.closed) == ["n0", "n1", "n2", "one"]
    stream.close()


def test_traces_go_where_the_new_file_says(gated_file: Path) -> None:
    """The store is the same one as long as the section `trace` is; the old one is closed."""
    with LeeLLMRouter(gated_file) as router:
        first: Any = router.trace_store
        closed: list[bool] = []
        first.close = lambda: closed.append(True)
        answer(router)
        gated_file.write_text(text("says: two"))
        router.reload()
        assert router.trace_store is first and not closed
        gated_file.write_text(text("says: two", rest="  trace: {dir: other}\n"))
        router.reload()
        second: Any = router.trace_store
        answer(router)
        assert (second.trace_dir, len(second.last(9))) == (gated_file.parent / "other", 1)
        assert closed == [True]
        gated_file.write_text(text(rest="  trace: {enabled: false}\n"))
        router.reload()
        assert router.trace_store is None


def test_sinks_and_policies_are_kept_or_replaced(gated_file: Path) -> None:
    gated_file.write_text(text(rest="  sinks: [closing_sink]\n"))
    with LeeLLMRouter(gated_file, trace_store=False) as router:
        policy = router.policy
        router.reload()
        assert (Sink.closed, router.policy) == (0, policy)
        gated_file.write_text(text())
        router.reload()
        assert Sink.closed == 1
    assert Sink.closed == 1
    given = SimpleRoutingPolicy()
    with LeeLLMRouter(gated_file, trace_store=False, policy=given) as router:
        router.reload()
        assert router.policy is given


def test_callers_notice_nothing_but_the_change(gated_file: Path) -> None:
    """Calls from several threads while the file is read again and again: each is answered by one or the other."""
    answers: list[str] = []
    stop = threading.Event()
    with LeeLLMRouter(gated_file, trace_store=False) as router:

        def call() -> None:
            while not stop.is_set():
                answers.append(answer(router))

        def has_answers(number: int) -> bool:
            return eventually(lambda: len(answers) >= number)

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for number in range(30):
            gated_file.write_text(text(f"says: {'two' if number % 2 else 'one'}"))
            router.reload()
            # So many that one of them at least began after it: of four, each may have been under way.
            assert has_answers(len(answers) + 5)
        stop.set()
        for caller in callers:
            caller.join()
    assert set(answers) <= {"one", "two"}
    gc.collect()
    assert eventually(lambda: len(Gate.closed) >= 20)


def test_a_scripted_router_reads_its_file_again(gated_file: Path) -> None:
    """What the new file adds has no script, and must not be asked."""
    with ScriptedRouter(gated_file, answers={"p": ["first", "second"]}) as router:
        assert answer(router) == "first"
        gated_file.write_text(text().replace("q:", "new:"))
        router.reload()
        assert answer(router) == "second"


@pytest.mark.parametrize("how", [pickle.dumps, copy, deepcopy])
def test_a_router_says_why_it_cannot_be_pickled(gated_file: Path, how: Any) -> None:
    """It holds connections and locks; its configuration can be pickled, and gives a router elsewhere."""
    with LeeLLMRouter(gated_file, trace_store=False) as router:
        with pytest.raises(TypeError, match=r"Build one in each process.*can be pickled"):
            how(router)
        with LeeLLMRouter(pickle.loads(pickle.dumps(router.config)), trace_store=False) as other:
            assert answer(other) == "one"
            other.reload()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_reads_its_file_again_counts_its_own_calls(tmp_path: Path) -> None:
    gated_file = tmp_path / "llm.yaml"
    gated_file.write_text("llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, model: m}}}")
    with LeeLLMRouter(gated_file, trace_store=False) as router:
        answer(router)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                gated_file.write_text(
                    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, model: m, seed: 1}}}"
                )
                router.reload()
                answer(router)
                os.write(writer, str([health.in_flight for health in router.health().values()]).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 100) == b"[0]"
