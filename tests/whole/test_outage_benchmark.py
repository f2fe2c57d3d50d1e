"""The parts of `benchmarks/outage.py`: its server has the outages it should have, and its table counts every call."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace

import pytest

from lee_llm_router import LeeLLMRouter, LLMRouterError, ProviderError
from outages import report
from outages.libraries import DEFAULTS, IMPATIENT, LITELLM, OPENAI, OURS, PEERS, ROUTER, names_its_reason, reason
from outages.play import Result, Tally, play
from outages.scenes import ALONE, BUSY, DEAD_KEY, IMPATIENCE, RESTART, SHAKY, Play, Scene, dead_key_plays, plays, scenes
from outages.server import Behaviour, Running, running

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10)


def ask(connection: socket.socket) -> bytes:
    """The status line of an answer; nothing if the connection is lost."""
    try:
        connection.sendall(REQUEST)
        return connection.recv(4096).partition(b"\r\n")[0]
    except ConnectionError:
        return b""


def test_a_server_that_is_gone_has_reset_its_connections_and_refuses_new_ones() -> None:
    with running(Behaviour(up_for=0.1, down_for=600)) as server, connect(server) as connection:
        assert ask(connection) == b"HTTP/1.1 200 X"
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(server)


def test_a_server_that_was_gone_comes_back_at_the_same_port() -> None:
    with running(Behaviour(up_for=0.1, down_for=0.1)) as server:
        with connect(server) as connection:
            assert ask(connection) == b"HTTP/1.1 200 X"
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        answer = b""
        while not answer:
            with suppress(ConnectionRefusedError), connect(server) as connection:
                answer = ask(connection)
        assert answer == b"HTTP/1.1 200 X"
        log = server.log()
    assert (log.requests, log.arrived_down) == (2, [])
    [(begin, end)] = log.outages
    assert end is not None
    assert begin < end


def test_a_busy_server_answers_503_from_its_first_request_on_and_notes_each_that_arrives() -> None:
    with running(Behaviour(up_for=0, down_for=600, status_down=503)) as server:
        with connect(server) as connection:
            assert [ask(connection) for _ in range(3)] == [b"HTTP/1.1 503 X"] * 3
        log = server.log()
    assert log.requests == len(log.arrived_down) == 3
    assert log.outages[0][1] is None


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_play_counts_what_is_answered_and_what_the_first_target_has_seen(way: str) -> None:
    result = play(Scene(ALONE, Behaviour(), calls=8), DEFAULTS, way)
    assert (result.answered, result.lost, result.requests, len(result.seconds)) == (8, 0, 8, 8)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_play_counts_losses_by_their_reason(way: str) -> None:
    result = play(Scene("", Behaviour(status=400), calls=5), DEFAULTS, way)
    assert (result.answered, result.lost, result.requests, result.without_reason) == (0, 5, 5, 0)
    [why] = result.losses
    assert why.startswith("INVALID_REQUEST 400: ")


def test_a_play_with_a_fallback_loses_nothing_to_a_dead_key() -> None:
    result = play(Scene(DEAD_KEY, Behaviour(status=401), calls=3, at_once=1, spare=True), DEFAULTS, "sync")
    assert (result.answered, result.lost) == (3, 0)
    assert 1 <= result.requests <= 3


def test_reasons_of_one_kind_are_one_reason() -> None:
    errors = [ProviderError(f"127.0.0.1:{port} lost after {port / 100} s") for port in (41234, 51234)]
    assert {reason(error) for error in errors} == {"PROVIDER_ERROR: server:# lost after # s"}


def test_a_loss_names_its_reason_if_it_comes_with_its_attempts() -> None:
    providers = {"p": {"type": "mock", "script": [{"error": "AUTH"}]}}
    config = {"llm": {"providers": providers, "roles": {"r": {"provider": "p"}}}}
    with LeeLLMRouter(config, trace_store=False) as router, pytest.raises(LLMRouterError) as caught:
        router.complete("r", "hi")
    assert names_its_reason(caught.value)
    assert not names_its_reason(ProviderError("no attempt is told"))
    assert not names_its_reason(ValueError("from elsewhere"))


def test_a_wrong_answer_is_a_loss() -> None:
    tally = Tally(ours=True)
    tally.add(0.1, "whole", None)
    tally.add(0.1, "half", None)
    result = tally.result(0.2)
    assert (result.answered, result.losses, result.without_reason) == (1, {"a wrong answer": 1}, 1)


def missed(name: str, library: str, result: Result, *, spare: bool = False, alone: Result | None = None) -> int:
    scene = replace(scenes(quick=False)[name], spare=spare)
    results = {Play(scene, library, "sync"): result}
    if alone is not None:
        results[Play(replace(scenes(quick=False)[ALONE], spare=True), library, "sync")] = alone
    return len(list(report.missed_bars(Play(scene, library, "sync"), results)))


@pytest.mark.parametrize(
    ("name", "library", "answered", "bars"),
    [
        (RESTART, ROUTER, 200, 0), (RESTART, ROUTER, 199, 1), (RESTART, DEFAULTS, 199, 1), (RESTART, OPENAI, 0, 0),
        (SHAKY, ROUTER, 998, 0), (SHAKY, ROUTER, 997, 1), (SHAKY, DEFAULTS, 980, 0), (SHAKY, DEFAULTS, 979, 1),
    ],
)  # fmt: skip
def test_fewer_answers_than_the_bar_asks_for_miss_it(name: str, library: str, answered: int, bars: int) -> None:
    assert missed(name, library, Result(answered)) == bars


def test_the_bars_of_the_outage_with_waiting_calls() -> None:
    assert missed(BUSY, DEFAULTS, Result(16, probes=[1, 1, 0])) == 0
    assert missed(BUSY, DEFAULTS, Result(16, probes=[1, 2, 0])) == 1
    assert missed(BUSY, DEFAULTS, Result(16)) == 1  # the breaker never opened
    assert missed(IMPATIENCE, IMPATIENT, Result(0, {"why": 16}, refused_in=0.001)) == 0
    assert missed(IMPATIENCE, IMPATIENT, Result(0, {"why": 16}, refused_in=0.5)) == 1
    assert missed(IMPATIENCE, IMPATIENT, Result(0, {"why": 16})) == 1


def test_the_bars_with_a_fallback() -> None:
    assert missed(DEAD_KEY, DEFAULTS, Result(50, requests=5), spare=True) == 0
    assert missed(DEAD_KEY, DEFAULTS, Result(50, requests=6), spare=True) == 1
    alone = Result(200, seconds=[0.05] * 200)
    assert missed(RESTART, DEFAULTS, Result(200, seconds=[0.06] * 200), spare=True, alone=alone) == 0
    assert missed(RESTART, DEFAULTS, Result(200, seconds=[0.06] * 197 + [1.8] * 3), spare=True, alone=alone) == 1
    assert missed(RESTART, DEFAULTS, Result(200, seconds=[1.8] * 200), spare=True, alone=alone) == 2


def test_a_loss_without_a_reason_and_a_play_without_a_result_miss_a_bar() -> None:
    assert missed(SHAKY, ROUTER, Result(999, {"?": 1}, without_reason=1)) == 1
    assert missed(SHAKY, ROUTER, Result(stopped="stopped after 300 s")) == 1


def test_a_row_shows_the_counts_and_every_reason() -> None:
    one = Play(scenes(quick=True)[RESTART], ROUTER, "async")
    lines = report.row(one, {one: Result(59, {"UNAVAILABLE: why": 1}, seconds=[0.05] * 59, requests=70)}).splitlines()
    words = "restart router, attempts 6 async 59/60 1 50 50 0.0 70 MISSED: fewer than 100.0% answered"
    assert " ".join(lines[0].split()) == words
    assert lines[1].split(maxsplit=2) == ["1", "x", "UNAVAILABLE: why"]


def test_each_scene_is_played_both_ways_by_everyone_who_can_and_a_quick_run_is_ours_alone() -> None:
    peers = list(PEERS)
    whole = [one for group in plays(False, peers) for one in group] + list(dead_key_plays(False, peers))
    assert len(set(whole)) == len(whole)
    assert {one.library for one in whole} >= {ROUTER, DEFAULTS, LITELLM, OPENAI}
    assert all(replace(one, way=way) in whole for one in whole for way in ("sync", "async"))
    assert all(not one.scene.spare for one in whole if one.library == OPENAI)  # it has no fallbacks
    played = {(one.scene.name, one.library) for one in whole if report.has_bars(one)}
    assert report.SHARES.keys() <= played
    quick = [one for group in plays(True, []) for one in group] + list(dead_key_plays(True, []))
    assert {one.library for one in quick} <= OURS.keys()
    assert sum(one.scene.calls for one in quick) < sum(one.scene.calls for one in whole if one.library in OURS) / 2
