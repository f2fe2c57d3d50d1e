"""The benchmark's own arithmetic, its bars, and its server: what it prints can be trusted."""

from __future__ import annotations

import asyncio
import json

import pytest

from lee_llm_router import load_config
from speed import bars, report, rounds
from speed.bars import BARS, Bar
from speed.catalog import SUBJECTS
from speed.chart import rows
from speed.ours import alone, http_config, mock_config
from speed.phases import PHASES, REFERENCE
from speed.samples import Samples, Spread
from speed.server import Connection
from speed.subject import Wanted
from speed.wire import HEADERS, MODEL, PAYLOAD, TEXT, answer, streamed_answer


def samples_of(*values: tuple[str, float]) -> Samples:
    samples = Samples()
    for name, value in values:
        samples.add((name, "async-1"), value)
    return samples


def test_a_ratio_is_the_median_of_the_ratios_of_neighbours() -> None:
    """Not the ratio of the medians: here the machine became ten times slower half-way."""
    slow = [("b", 10.0), ("a", 20.0), ("b", 100.0), ("a", 200.0), ("b", 100.0), ("a", 300.0)]
    found = samples_of(*slow).ratio(("a", "async-1"), ("b", "async-1"))
    assert found is not None
    assert found.middle == 2.0
    assert (found.low, found.high) == (2.0, 2.5)


def test_each_sample_of_the_rarer_one_is_held_against_the_nearest_of_the_other() -> None:
    samples = samples_of(("b", 1.0), ("x", 9.0), ("b", 2.0), ("a", 8.0), ("x", 9.0), ("x", 9.0), ("b", 4.0))
    for over, under, expected in (("a", "b", 4.0), ("b", "a", 0.25)):
        found = samples.ratio((over, "async-1"), (under, "async-1"))
        assert found == Spread(expected, expected, expected)


def test_what_was_not_measured_has_no_ratio_and_no_verdict() -> None:
    samples = samples_of(("ours", 10.0))
    assert samples.ratio(("ours", "async-1"), REFERENCE) is None
    assert samples.spread(REFERENCE) is None
    assert report.missed(samples) == []
    assert report.unmeasured(samples) == list(BARS)


@pytest.mark.parametrize(("value", "verdict"), [(114.0, "ok"), (115.0, "ok"), (116.0, "MISSED")])
def test_a_bar_is_missed_only_beyond_its_limit(value: float, verdict: str) -> None:
    samples = samples_of(("ours", value), ("httpx", 100.0))
    row = next(line for line in report.bars_table(samples).splitlines() if "c=1, default" in line)
    assert row.rstrip("| ").endswith(verdict)
    assert bool(report.missed(samples)) == (verdict == "MISSED")


def test_a_bar_may_ask_for_at_least() -> None:
    bar = Bar("", ("append", "per second"), None, 60_000, ">=")
    assert bar.holds(Spread(60_000, 1, 1))
    assert not bar.holds(Spread(59_999, 1, 1))


def test_every_bar_is_measured_by_a_whole_run_and_by_a_quick_one() -> None:
    elsewhere = {"start", "growth", "per second", "many", "few", "4 targets"}
    for phases in (PHASES.values(), [phase.quick() for phase in PHASES.values()]):
        measured = {key for phase in phases for key in [*phase.keys, phase.neighbour]}
        wanted = {key for bar in BARS for key in (bar.over, bar.under) if key is not None}
        assert {key for key in wanted if key[1] not in elsewhere} <= measured


def test_every_subject_is_measured_and_can_do_what_it_is_measured_by() -> None:
    keys = {key for phase in PHASES.values() for key in phase.keys}
    assert {name for name, _ in keys} == SUBJECTS.keys()
    assert all(case in SUBJECTS[name].cases for name, case in keys)


def test_each_of_ours_is_measured_right_after_its_neighbour_in_every_round() -> None:
    keys = [("sockets", "async-1"), REFERENCE, ("ours", "async-1"), ("ours-fast", "async-1")]
    for number in range(len(keys)):
        turns = list(rounds.turns(keys, number, REFERENCE))
        assert set(turns) == set(keys)
        assert all(turns[at - 1] == REFERENCE for at, key in enumerate(turns) if key[0].startswith("ours"))


def test_the_configurations_measured_load() -> None:
    assert len(load_config(mock_config("traces", 100)).roles) == 100
    config = load_config(http_config("http://127.0.0.1:1", "traces", "httpx"))
    assert [target.provider for target in config.chain("r")] == ["main", "spare"]
    assert config.trace.enabled


def test_the_chart_has_the_cheapest_first_and_leaves_out_what_was_not_measured() -> None:
    samples = samples_of(("httpx", 100.0), ("ours", 70.0), ("ours", 90.0), ("litellm", 900.0))
    samples.add(("httpx", "async-64"), 200.0)
    assert [(row.title, list(row.costs)) for row in rows(samples)] == [
        ("Lee LLM Router", [80.0, None, None]),
        ("httpx", [100.0, 200.0, None]),
        ("litellm Router", [900.0, None, None]),
    ]


@pytest.mark.parametrize("name", ["alone-untraced", "overrides", "overrides-schema"])
def test_a_call_over_the_mock_gives_the_answer_the_worker_expects(name: str) -> None:
    made = alone(Wanted("", "sync", SUBJECTS[name].options))
    with made.closing:
        assert made.ask_sync is not None
        assert made.ask_sync() == made.expected


def test_options_of_a_subject_carry_numbers() -> None:
    wanted = Wanted("", "async-1", ("all", "count=1000"))
    assert wanted.number("count") == 1000
    assert wanted.number("pool") is None


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


def request(payload: dict[str, object]) -> bytes:
    body = json.dumps(payload).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_the_server_answers_each_request_once_however_it_is_cut(step: int) -> None:
    connection, wire = Connection(streamed_answer(3), ()), Wire()
    connection.connection_made(wire)
    sent = request(PAYLOAD) + request({**PAYLOAD, "stream": True}) + request(PAYLOAD)
    for at in range(0, len(sent), step):
        connection.data_received(sent[at : at + step])
    assert wire.written == [answer(), streamed_answer(3), answer()]


def test_the_answer_is_of_a_usual_size_and_the_stream_has_as_many_pieces_as_asked_for() -> None:
    whole = json.loads(answer().partition(b"\r\n\r\n")[2])
    assert (whole["model"], whole["choices"][0]["message"]["content"]) == (MODEL, TEXT)
    assert 400 < len(json.dumps(whole)) < 700
    assert streamed_answer(50).count(b'"content": " word') == 50


def test_the_bars_are_those_that_were_set() -> None:
    """Loosening one is a decision, not a detail."""
    limits = [(bar.sense, bar.limit) for bar in bars.BARS]
    assert limits == [
        ("<=", 1.15), ("<=", 1.15), ("<=", 1.3), ("<=", 0.55), ("<=", 0.30), ("<=", 1.15), ("<=", 0.6), ("<=", 0.07),
        ("<=", 0.03),
        *[("<=", limit) for limit in (0.2, 0.05, 0.06, 0.05, 0.4, 0.1)], ("<=", 2),
        ("<=", 1.6), (">=", 6), (">=", 6), (">=", 12), (">=", 25),
        ("<=", 1.05), *[("<=", 1.2)] * 6, ("<=", 1.25), ("<=", 1.3), ("<=", 1.0), ("<=", 1.0),
        *[("<=", 20)] * 6, (">=", 60_000), ("<=", 1.2),
    ]  # fmt: skip
