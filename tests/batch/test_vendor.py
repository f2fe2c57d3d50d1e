"""The engine `vendor`: rows go to the vendor's batch API, each once, and what fails there is asked live."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import lines, texts
from helpers.support import FakeClock, Memory
from helpers.vendor_batches import KEY, MODELS, VENDORS, Refused, VendorServer
from helpers.vendor_runs import CAPITALS, MIXED, ROWS, run
from lee_llm_router import BudgetExceededError, ConfigError
from lee_llm_router.batch.engine import BatchStoppedError


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)


@pytest.mark.parametrize("vendor", VENDORS)
def test_rows_are_answered_by_one_batch_and_nothing_is_left_of_it(vendor: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        report = run(server, out)
    assert texts(out) == CAPITALS
    assert report.is_complete and report.answered == 20
    assert len(server.batches) == 1 and not server.live
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.ledger"]


def test_openai_s_responses_have_a_batch_api_too(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer("openai", responses=True) as server:
        run(server, out, MIXED[:2])
    assert texts(out) == {"good 1": "GOOD 1", "error 1": "LIVE error 1"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_rows_that_fail_in_a_batch_are_asked_live(vendor: str, tmp_path: Path) -> None:
    """Refused, expired, or without a result; of two results of a row the first counts, and others are nobody's."""
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        report = run(server, out, MIXED)
    failed = [row["id"] for row in MIXED if row["id"].split()[0] in ("error", "expired", "missing")]
    assert texts(out) == {row["id"]: f"LIVE {row['id']}" if row["id"] in failed else row["id"].upper() for row in MIXED}
    assert server.live == dict.fromkeys(failed, 1)
    assert report.answered == len(MIXED) and not report.failed


def test_rows_that_fail_live_too_go_to_the_errors_file(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer("openai") as server:

        def refuse(event: str) -> None:
            if event == "live":
                raise Refused(400, "this row is refused")

        server.before = refuse
        report = run(server, out, MIXED)
        assert (report.answered, report.failures) == (3, {"INVALID_REQUEST": 5})
        server.before = lambda event: None
        again = run(server, out, MIXED, retry_errors=True)
    assert again.is_complete and again.answered == 5
    assert {line["id"] for line in lines(out)} == {row["id"] for row in MIXED}


@pytest.mark.parametrize("vendor", VENDORS)
def test_rows_are_split_by_the_limits_of_a_batch(vendor: str, tmp_path: Path) -> None:
    with VendorServer(vendor) as server:
        run(server, tmp_path / "out.jsonl", engine_options={"max_rows": 7})
        assert sorted(len(one["rows"]) for one in server.batches.values()) == [6, 7, 7]
        server.batches.clear()
        run(server, tmp_path / "small.jsonl", engine_options={"max_mb": 0.001})
        assert len(server.batches) >= 3
        server.batches.clear()
        few = run(server, tmp_path / "few.jsonl", engine_options={"ahead": 5})
        assert [len(one["rows"]) for one in server.batches.values()] == [5, 5, 5, 5]
    assert few.is_complete
    assert server.in_batches == {row["prompt"]: 3 for row in ROWS}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_that_is_away_is_waited_for(vendor: str, tmp_path: Path) -> None:
    left = dict.fromkeys(("upload", "create", "status", "results", "list"), 2)

    def refuse(event: str) -> None:
        if left.get(event):
            left[event] -= 1
            raise Refused(503 if left[event] else 429, "try again later")

    out, clock = tmp_path / "out.jsonl", FakeClock()
    with VendorServer(vendor) as server:
        server.before = refuse
        run(server, out, clock=clock)
    assert texts(out) == CAPITALS
    assert server.in_batches == {row["prompt"]: 1 for row in ROWS}
    assert clock.monotonic() > 1000 + 30


def test_looks_are_made_after_waits_that_grow(tmp_path: Path) -> None:
    clock = FakeClock()
    with VendorServer("openai") as server:
        server.looks = 20
        moments: list[float] = []
        server.before = lambda event: moments.append(clock.monotonic()) if event == "status" else None
        run(server, tmp_path / "out.jsonl", clock=clock)
    waits = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert moments[0] - 1000 == pytest.approx(30)
    assert waits == sorted(waits) and waits[-1] == pytest.approx(600)
    assert waits[1] == pytest.approx(1.5 * waits[0])


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_results_that_break_off_are_fetched_again(vendor: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        server.cut = 2
        run(server, out)
        assert texts(out) == CAPITALS and not server.live
        server.cut = 3
        report = run(server, tmp_path / "lost.jsonl")
    assert report.answered == 20
    assert 0 < server.live.total() < 20


@pytest.mark.parametrize("vendor", VENDORS)
def test_results_that_are_there_no_more_are_asked_live(vendor: str, tmp_path: Path) -> None:
    def refuse(event: str) -> None:
        if event == ("status" if vendor == "gemini" else "results"):
            raise Refused(404, "it has expired: not found")

    with VendorServer(vendor) as server:
        server.before = refuse
        report = run(server, tmp_path / "out.jsonl")
    assert report.answered == 20 and server.live.total() == 20


def test_answers_cost_half_and_are_traced_as_calls(tmp_path: Path) -> None:
    """Each with its usage, its tier and the names of the batch and the row."""
    memory = Memory()
    pricing = {"pricing": {"models": {"p/*": {"input": 2, "output": 10}}}}
    with VendorServer("openai") as server:
        report = run(server, tmp_path / "out.jsonl", ROWS[:1], llm=pricing, trace_store=memory)
    cost = (7 * 2 + 3 * 10) / 2 / 1_000_000
    assert report.cost_usd == pytest.approx(cost)
    (record,) = memory.records
    assert (record.outcome, record.provider, record.service_tier) == ("ok", "p", "batch")
    assert record.cost_usd == pytest.approx(cost)
    assert record.metadata["batch"] == report.batch_id and record.metadata["row"] == "r0"
    assert record.metadata["vendor_batch"] in server.batches
    assert lines(tmp_path / "out.jsonl")[0]["cost_usd"] == pytest.approx(cost)


def test_limits_and_shut_doors_hold_up_no_answer(tmp_path: Path) -> None:
    """Answers that have come are not sent again, so that no `rpm` counts them."""
    clock = FakeClock()
    with VendorServer("openai") as server:
        config = server.config()
        config["providers"]["p"]["rpm"] = 1
        run(server, tmp_path / "out.jsonl", llm=config, clock=clock)
    assert clock.monotonic() - 1000 < 200


def test_a_spent_budget_sends_no_batch(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    llm = {
        "pricing": {"models": {"p/*": {"input": 2, "output": 10}}}, "budget": {"usd": 0.00001},
        "trace": {"dir": str(tmp_path / "traces")},
    }  # fmt: skip
    with VendorServer("openai") as server, pytest.raises(BatchStoppedError) as caught:
        run(server, out, llm=llm, engine_options={"max_rows": 10, "ahead": 10})
    assert isinstance(caught.value.cause, BudgetExceededError)
    assert len(server.batches) == 1
    assert len(texts(out)) == 10, "what was sent is paid, and is kept"


def test_a_server_without_a_batch_api_is_named(tmp_path: Path) -> None:
    def refuse(event: str) -> None:
        raise Refused(404, "not found")

    with VendorServer("openai") as server:
        server.before = refuse
        with pytest.raises(BatchStoppedError, match="p has no batch API that can be used"):
            run(server, tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"provider": "nobody"}, "there is no provider 'nobody'"),
        ({"first_wait": 0}, "first_wait"),
        ({"max_rows": 1.5}, "max_rows"),
        ({"pol": 3}, "no option 'pol'"),
        ({"cancel": "yes"}, "cancel"),
        ({"provider": "offline"}, "has no batch API"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_sent(options: Any, words: str, tmp_path: Path) -> None:
    with VendorServer("openai") as server:
        config = server.config()
        config["providers"]["offline"] = {"type": "mock"}
        with pytest.raises(ConfigError, match=words):
            run(server, tmp_path / "out.jsonl", llm=config, engine_options=options)
    assert not server.seen


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_batch_that_is_refused_for_what_it_holds_is_asked_live(vendor: str, tmp_path: Path) -> None:
    def refuse(event: str) -> None:
        if event == "create":
            raise Refused(400, "invalid request: the batch is refused")

    with VendorServer(vendor) as server:
        server.before = refuse
        report = run(server, tmp_path / "out.jsonl")
    assert report.answered == 20 and server.live.total() == 20 and not server.batches


def test_a_batch_that_is_too_large_is_split(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    def refuse(event: str) -> None:
        if event == "create" and server.times("create") < 3:
            raise Refused(413, "request too large")

    with VendorServer("anthropic") as server:
        server.before = refuse
        run(server, out)
    assert texts(out) == CAPITALS and set(server.in_batches.values()) == {1} and len(server.batches) > 2


def test_rows_of_other_models_and_headers_of_a_row_have_their_own_way(tmp_path: Path) -> None:
    """A file of OpenAI's has one model; what a batch cannot carry is asked live."""
    rows = [
        {"id": "a", "prompt": "a"},
        {"id": "b", "prompt": "b", "options": {"model": "gpt-4.1"}},
        {"id": "c", "prompt": "c", "options": {"headers": {"x-own": "1"}}},
        {"id": "d", "prompt": "d", "options": {"temprature": 1}},
    ]
    out = tmp_path / "out.jsonl"
    with VendorServer("openai") as server:
        report = run(server, out, rows)
    assert texts(out) == {"a": "A", "b": "B", "c": "LIVE c"}
    assert len(server.batches) == 2 and report.failures == {"INVALID_REQUEST": 1}


def test_answers_that_break_the_schema_are_asked_live(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    rows = [{"id": "good", "prompt": '{"A": 1, "a": 1}'}, {"id": "bad", "prompt": "no json"}]
    out = tmp_path / "out.jsonl"
    with VendorServer("openai") as server:
        server.capital = False
        report = run(server, out, rows, schema=schema)
    assert [line["parsed"] for line in lines(out)] == [{"A": 1, "a": 1}]
    assert server.live.keys() == {"no json"} or server.live.total() >= 1
    assert report.failures == {"CONTRACT_VIOLATION": 1}


def test_batches_of_a_provider_with_several_keys_are_fetched_with_the_key_that_sent_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", f"{KEY}-2")
    out, used = tmp_path / "out.jsonl", set()
    with VendorServer("openai") as server:
        config = server.config()
        config["providers"]["p"]["api_key_env"] = ["OTHER_KEY", "VENDOR_KEY"]
        run(server, out, llm=config, engine_options={"max_rows": 5})
        used = {received.headers["authorization"] for received in server.requests}
    assert texts(out) == CAPITALS and len(used) == 1


def test_rows_that_no_batch_takes_are_all_asked_live(tmp_path: Path) -> None:
    """Few of them are held at once."""
    rows = [{"prompt": f"row {number}", "options": {"headers": {"x-own": "1"}}} for number in range(60)]
    with VendorServer("openai") as server:
        report = run(server, tmp_path / "out.jsonl", rows, engine_options={"ahead": 4}, concurrency=2)
    assert report.answered == 60 and server.live.total() == 60


@pytest.mark.parametrize("state", ["expired", "cancelled", "failed"])
def test_what_a_batch_has_answered_before_its_end_is_taken(state: str, tmp_path: Path) -> None:
    with VendorServer("openai") as server:
        server.end_state = state
        report = run(server, tmp_path / "out.jsonl", MIXED)
    assert report.answered == len(MIXED) and server.live.total() == 5


@pytest.mark.parametrize("vendor", VENDORS)
def test_any_text_goes_out_and_comes_back(vendor: str, tmp_path: Path) -> None:
    rows = [{"id": "odd \u2028 id", "prompt": 'line\nbreak \u2028 "quotes" \\ \u00e4\u4e2d\U0001f600 \x00'}]
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        server.capital = False
        run(server, out, rows)
    assert texts(out) == {rows[0]["id"]: rows[0]["prompt"]} and not server.live


def test_a_role_without_a_batch_api_and_a_cassette_are_refused(tmp_path: Path) -> None:
    with VendorServer("openai") as server:
        mock = {"providers": {"p": {"type": "mock"}}}
        with pytest.raises(ConfigError, match="no target of the role 'r' has a batch API"):
            run(server, tmp_path / "out.jsonl", llm=mock)
        with pytest.raises(ConfigError, match="a cassette does not record batches"):
            run(server, tmp_path / "out.jsonl", llm={"cassette": str(tmp_path / "tape.yaml")})
    assert not server.seen


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_fallback_serves_by_its_batch_api_where_the_first_target_has_none(vendor: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with VendorServer(vendor) as server:
        config = server.config(
            provider="local", model="m", fallback_providers=[{"provider": "p", "model": MODELS[vendor]}]
        )
        config["providers"]["local"] = {"type": "mock"}
        run(server, out, llm=config)
    assert texts(out) == CAPITALS
