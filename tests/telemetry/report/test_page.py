"""The page as text: what it holds, and that nothing of a trace can become a part of it."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from helpers.hostile_traces import ATTACKS, hostile_traces
from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_set import trace_set
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord, report
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.report.call_rows import OUTCOMES, rows_of
from lee_llm_router.telemetry.report.page import content_policy, page_text, update_text


class _Blocks(HTMLParser):
    """The scripts and styles of a page, and what its elements would load."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.blocks: list[tuple[str, dict[str, str | None], str]] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.policy = ""
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [f"{tag} {name}" for name in ("src", "data", "action") if name in given]
        self.loaded += [f"{tag} href"] if not (given.get("href") or "#").startswith("#") or tag == "link" else []
        self.handlers += [name for name in given if name.startswith("on") or name == "style"]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag in ("script", "style"):
            self._open = (tag, given)

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.blocks.append((*self._open, data))

    def handle_endtag(self, tag: str) -> None:
        self._open = None if tag in ("script", "style") else self._open


def _page(records: list[TraceRecord], **about: Any) -> bytes:
    return page_text(rows_of(calls_from(records)), {"made": 0, **about})


def _data(page: bytes, block: str = "data") -> Any:
    (text,) = [text for _, given, text in _Blocks(page).blocks if given.get("id") == block]
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def _names(page: bytes, call: int, *places: int) -> list[str | None]:
    data = _data(page)
    return [None if data["calls"][call][at] is None else data["names"][data["calls"][call][at]] for at in places]


def test_a_page_is_one_file_that_loads_nothing() -> None:
    """No element names another file or address, and none has a handler or a style of its own."""
    blocks = _Blocks(_page(list(trace_set(20, full=True))))
    assert blocks.loaded == []
    assert blocks.handlers == []
    assert [(tag, given.get("type")) for tag, given, _ in blocks.blocks] == [
        ("style", None), ("script", "application/json"), ("script", "application/json"), ("script", None),
    ]  # fmt: skip


def test_the_policy_allows_the_pages_own_script_and_style_alone() -> None:
    """They are named by their digests; everything else is refused, connections too unless the page is live."""
    blocks = _Blocks(_page([make()]))
    rules = dict(rule.split(" ", 1) for rule in blocks.policy.split("; "))
    for kind, rule in (("style", "style-src"), ("script", "script-src")):
        (text,) = [text for tag, given, text in blocks.blocks if tag == kind and "type" not in given]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(rule) == f"'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'", "connect-src": "'none'", "base-uri": "'none'", "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }  # fmt: skip
    assert "connect-src 'self'" in content_policy(is_live=True)


def test_the_script_makes_no_text_into_html() -> None:
    """None of the ways by which a string becomes HTML or code is used at all."""
    (script,) = [text for tag, given, text in _Blocks(_page([])).blocks if tag == "script" and "type" not in given]
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTML|srcdoc"
    assert re.findall(ways, script) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_ends_the_block_it_stands_in(attack: str) -> None:
    """Whatever a trace holds, the page has its own four blocks, and the data is the same when read."""
    page = _page(hostile_traces([attack]))
    blocks = _Blocks(page)
    assert len(blocks.blocks) == 4
    assert blocks.loaded == blocks.handlers == []
    for _, given, text in blocks.blocks:
        if "type" in given:
            assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", text)
    if not re.search("[\ud800-\udfff]", attack):
        assert _names(page, 0, 2, 5, 6, 7) == [attack] * 4
        (texts,) = _data(page, "texts")
        assert texts["answers"][0]["text"] == texts["messages"][0]["content"] == attack


def test_the_page_has_all_of_its_files() -> None:
    """Each file beside the code that makes the page is a part of it, once."""
    page = _page([]).decode()
    files = [path for path in (Path(report.__file__).parent / "page").iterdir() if path.name != "page.html"]
    assert len(files) > 10
    assert [path.name for path in files if page.count(path.read_text()) != 1] == []


def test_rows_say_what_traced_calls_say() -> None:
    """Outcome, saved, cut, time, first token, tokens and cost are those of every other view."""
    calls = calls_from(trace_set(200, seed=3))
    data = _data(page_text(rows_of(calls), {}))
    assert len(data["calls"]) == len(calls)
    for call, row in zip(calls, data["calls"], strict=True):
        assert row[0] == call.request_id
        assert OUTCOMES[row[3]] == call.outcome
        assert row[4] & 3 == call.is_saved + 2 * call.is_cut
        assert row[8:15] == [
            call.tried, pytest.approx(call.total_ms, abs=0.1), pytest.approx(call.first_token_ms, abs=0.1),
            call.input_tokens, call.output_tokens, call.tokens, pytest.approx(call.cost_usd),
        ]  # fmt: skip
        assert len(row[21]) == len(call.records)


def test_attempts_stand_on_one_axis_from_the_begin_of_the_call() -> None:
    """By `offset_ms`, and by the times of records that are older than that field."""
    new = [make(outcome="error", verdict="retry", offset_ms=0.0), make(attempt=1, offset_ms=750.0)]
    old = [make("old", outcome="error", verdict="retry"), make("old", attempt=1, at=EPOCH + 0.5)]
    data = _data(_page([*new, *old]))
    assert [[attempt[4] for attempt in row[21]] for row in data["calls"]] == [[0, 750], [0, 500]]


def test_what_is_unknown_is_not_zero() -> None:
    """A cost, tokens and a first token that nobody reported are null; a cost that is known in part is marked."""
    usage = LLMUsage(prompt_tokens=5, completion_tokens=None, total_tokens=None)
    row = _data(_page([make(usage=usage)]))["calls"][0]
    assert row[10:15] == [None, 5, None, None, None]
    assert row[4] & 8 == 0


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_numbers_that_cannot_be_true_are_left_out(number: float) -> None:
    """A store of the user's may hold anything; the data stays JSON that every browser reads."""
    usage = LLMUsage(prompt_tokens=int(min(max(number, -9), 10**15)) if number == number else 0)
    record = make(
        elapsed_ms=number, offset_ms=number, first_token_ms=number, wait_ms=number, cost_usd=number,
        retry_after=number, usage=usage, metadata={"odd": number}, settings={"odd": number}, text="t",
    )  # fmt: skip
    page = _page([record])
    assert _data(page)["calls"][0][9] == 0
    assert _data(page, "texts")


@pytest.mark.parametrize("started", ["", "yesterday", "2027-13-45T99:00:00Z", "9" * 400])
def test_a_call_without_a_time_stands_on_the_page_without_one(started: str) -> None:
    record = TraceRecord(request_id="odd", attempt=0, role="r", started_at=started, outcome="ok", verdict="return")
    assert _data(_page([record]))["calls"][0][1] is None


def test_captured_texts_are_bounded_and_what_is_left_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call keeps some 60,000 characters of either side; a page keeps 30 MB, and says how many calls had no room."""
    long = make(messages=({"role": "user", "content": "x" * 1_000_000},), text="y" * 1_000_000)
    assert len(_page([long])) - len(_page([make()])) < 130_000
    monkeypatch.setattr("lee_llm_router.telemetry.report.call_rows.MAX_TEXT", 200_000)
    data = _data(_page([make(f"call {number}", text="z" * 1_000_000) for number in range(5)]))
    assert data["left_out"] == 2
    assert [row[20] for row in data["calls"]] == [0, 1, 2, None, None]


def test_long_names_are_cut() -> None:
    assert len(_page([make(error="e" * 50_000, metadata={"m": "m" * 50_000})])) < len(_page([make()])) + 9_000


def test_a_row_takes_few_bytes() -> None:
    """So that 100,000 calls make a page that a browser opens: at most 400 bytes each."""
    assert (len(_page(list(trace_set(2000)))) - len(_page([]))) / 2000 < 400


def test_an_update_is_json_with_its_own_names_and_texts() -> None:
    (call,) = calls_from([make(text="</script>")])
    update = json.loads(update_text(rows_of([call])))
    assert update["names"][update["calls"][0][2]] == "planner"
    assert update["texts"][update["calls"][0][20]]["answers"][0]["text"] == "</script>"
    assert "<" not in update_text(rows_of([call]))
