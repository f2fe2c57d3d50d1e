"""`trace show`: one call, whole and readable, whatever it holds and whoever reads it."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.command_line import CONFIG, Run
from helpers.records import make
from helpers.screens import call_screen
from helpers.trace_set import trace_set
from lee_llm_router import LocalFileTraceStore, TraceRecord
from lee_llm_router.cli.trace.summary import CALL_FIELDS
from lee_llm_router.response import LLMUsage

FULL = CONFIG + "  trace: {capture: full}\n"
ID = "019a0000-0000-7000-8000-0000deadbe01"


def record(attempt: int | None = 0, **fields: Any) -> TraceRecord:
    defaults = {"request_id": ID, "role": "planner", "provider": "openai", "model": "gpt-5", "elapsed_ms": 1000.0}
    return make(**{"started_at": "2027-01-15T08:16:40.000000Z", **defaults, "attempt": attempt, **fields})


CHAIN = [
    record(None, outcome="skipped", verdict="next", provider="local", model="small", failure_type="UNAVAILABLE",
           error="it takes no tools", offset_ms=0.0, elapsed_ms=0.0),
    record(0, outcome="error", failure_type="OVERLOADED", status_code=529, verdict="retry", wait_ms=1000.0,
           error="busy", offset_ms=0.0, reason="fallback; not asked: local/small", sent=True, retry_after=1.0,
           provider_request_id="req_7", usage=LLMUsage(prompt_tokens=100, completion_tokens=0), cost_usd=0.001,
           cost_source="pricing"),
    record(1, offset_ms=2000.0, elapsed_ms=2000.0, waited_for="openai: a backoff", first_token_ms=1000.0, stream=True,
           reason="try 2 of 3 after OVERLOADED", dropped=("seed",), served_model="gpt-5-2027", sent=True,
           service_tier="flex", cost_usd=0.01, cost_source="vendor", metadata={"tenant": "acme"},
           usage=LLMUsage(prompt_tokens=100, completion_tokens=50, total_tokens=150, cached_tokens=64,
                          reasoning_tokens=20)),
]  # fmt: skip


def test_a_call_reads_like_this() -> None:
    """Its figures, its course on one axis of time, and of each attempt why it was made and what came of it."""
    assert (
        call_screen(CHAIN, 90, plain=True)
        == """\
call     019a0000-0000-7000-8000-0000deadbe01
role     planner
when     2027-01-15 08:16:40 UTC
outcome  ok from openai/gpt-5, saved by a fallback
time     4.0 s, first token after 3.0 s
tokens   200 in (64 cached), 50 out (20 reasoning)
cost     $0.0110 (pricing, vendor)

                0                     2.0 s             4.0 s
- local/small   ×                                                        UNAVAILABLE
1 openai/gpt-5  ━━━━━━━━━━━                                       1.0 s  OVERLOADED 529
  waited                   ···········                            1.0 s  openai: a backoff
2 openai/gpt-5                        ───────────▸━━━━━━━━━━━     2.0 s  ok

-  local/small  UNAVAILABLE
   error  it takes no tools
   then   next

1  openai/gpt-5  OVERLOADED 529 in 1.0 s
   why          fallback; not asked: local/small
   error        busy
   then         retry in 1.0 s
   vendor says  not before 1.0 s have passed
   request id   req_7
   tokens       100 in, 0 out
   cost         $0.00100 (pricing)

2  openai/gpt-5  ok in 2.0 s
   why          try 2 of 3 after OVERLOADED
   waited for   openai: a backoff
   left out     seed
   served by    gpt-5-2027
   tier         flex
   first token  after 1.0 s of the attempt
   tokens       100 in (64 cached), 50 out (20 reasoning)
   cost         $0.0100 (vendor)

── texts ───────────────────────────────────────────────────
prompts and answers were not kept: set `trace: {capture: full}` in the configuration to keep them"""
    )


def test_where_there_are_no_other_marks_letters_draw() -> None:
    """An encoding of ASCII alone."""
    text = call_screen(CHAIN, 90, ascii_only=True)
    assert text.isascii()
    assert "----------->===========" in text


PICTURE = "data:image/png;base64," + base64.b64encode(b"x" * 4000).decode()
TALK: dict[str, Any] = {
    "messages": (
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": PICTURE}},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
            {"type": "hologram", "depth": 3},
        ]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"closely": true}'}}]},
        {"role": "tool", "tool_call_id": "c1",
         "content": json.dumps({"seen": ["a cat", "a mat"], "sure": 0.98, "with": "its own eyes"})},
    ),
    "tools": ({"type": "function", "function": {"name": "look", "parameters": {"properties": {"closely": {}}}}},),
    "settings": {"temperature": 0.2},
    "reasoning": "It has whiskers.",
    "text": "A *cat*.\nOn a mat.",
    "tool_calls": ({"id": "c2", "name": "pet", "arguments": json.dumps({"where": "b" * 50, "how": "gently"})},),
}  # fmt: skip


def test_a_conversation_reads_as_one() -> None:
    """Roles as headings, JSON laid out, pictures by their type and size, calls of tools with their arguments."""
    text = call_screen([record(**TALK)], 90, plain=True)
    assert (
        text[text.index("── system") :]
        == f"""\
── system ──────────────────────────────────────────────────
You are brief.
── user ────────────────────────────────────────────────────
What is this?
[image: image/png, 4 kB]
[image: image/png, https://example.com/cat.png]
[hologram: {{"type":"hologram","depth":3}}]
── assistant ───────────────────────────────────────────────
calls look {{"closely": true}}
── tool (c1) ───────────────────────────────────────────────
{{
  "seen": [
    "a cat",
    "a mat"
  ],
  "sure": 0.98,
  "with": "its own eyes"
}}
── tools offered ───────────────────────────────────────────
look(closely)
── settings ────────────────────────────────────────────────
temperature: 0.2
── reasoning ───────────────────────────────────────────────
It has whiskers.
── answer ──────────────────────────────────────────────────
A *cat*.
On a mat.
── calls pet ───────────────────────────────────────────────
{{
  "where": "{"b" * 50}",
  "how": "gently"
}}"""
    )


def test_a_schema_among_the_settings_is_laid_out() -> None:
    """As all JSON that is no short line; a short setting stays on its line."""
    schema = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
    talk = {**TALK, "settings": {"stop": ["a", "b"], "schema": schema}}
    text = call_screen([record(**talk)], 90)
    assert 'stop: ["a","b"]\nschema:\n{\n  "type": "object",\n  "properties": {\n' in text


def test_long_texts_are_cut_unless_all_is_asked_for() -> None:
    """With a word of how much is missing; so are long conversations."""
    talk = tuple({"role": "user", "content": f"number {n}"} for n in range(50))
    records = [record(messages=talk, text="word " * 3000 + "END")]
    short, whole = call_screen(records, plain=True), call_screen(records, plain=True, full=True)
    assert "… 13003 more characters; --full shows all" in short
    assert "… 40 messages in between; --full shows all" in short
    assert ("END" in short, "number 25" in short, "number 49" in short) == (False, False, True)
    assert ("END" in whole, "number 25" in whole, "--full" in whole) == (True, True, False)


NASTY = "\x1b]0;pwned\x07\x1b[2J\r\u202eabc\x9b31m\ud800<script>\u2028"


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("width", [24, 60, 200])
def test_nothing_in_a_record_is_obeyed_by_a_terminal(width: int, full: bool, plain: bool) -> None:
    """Escape sequences and direction marks are shown as text, in every field and at any depth."""
    names = ["role", "provider", "model", "error", "failure_type", "outcome", "verdict", "reason", "waited_for",
             "policy", "served_model", "workspace", "cost_source", "service_tier", "provider_request_id",
             "finish_reason", "operation", "asked_role", "text", "reasoning"]  # fmt: skip
    odd: dict[str, Any] = dict.fromkeys(names, NASTY)
    odd |= {"metadata": {NASTY: {NASTY: NASTY}}, "dropped": (NASTY,), "settings": {NASTY: NASTY}, "cost_usd": 1.0,
            "tools": ({"function": {"name": NASTY, "parameters": {"properties": {NASTY: 1}}}}, {NASTY: NASTY}),
            "messages": ({"role": NASTY, "content": NASTY, "name": NASTY}, {NASTY: NASTY},
                         {"content": [NASTY, {NASTY: 1}]},
                         {"role": "tool", "tool_call_id": NASTY, "content": {NASTY: NASTY}}),
            "tool_calls": ({"name": NASTY, "arguments": NASTY}, {"arguments": {NASTY: NASTY}})}  # fmt: skip
    text = call_screen([record(**odd), record(1, **odd)], width, plain=plain, full=full)
    assert [c for c in text.replace("\n", "") if not c.isprintable()] == []
    text.encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
messages = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "name", "tool_call_id", "x"]), values, max_size=5
)


def columns(line: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in line)
    return len(line) + wide - sum(bool(unicodedata.combining(c)) for c in line)


@given(
    talk=st.lists(messages, max_size=4), text=st.none() | st.text("ab 漢é\u0301\t\n{", max_size=300),
    calls=st.lists(st.dictionaries(st.sampled_from(["id", "name", "arguments"]), values), max_size=2),
    tools=st.lists(st.dictionaries(st.sampled_from(["function", "name", "parameters"]), values), max_size=2),
    settings=st.dictionaries(st.text(max_size=5), values, max_size=2), width=st.integers(24, 150), full=st.booleans(),
)  # fmt: skip
def test_whatever_was_captured_can_be_shown(
    talk: Any, text: Any, calls: Any, tools: Any, settings: Any, width: int, full: bool
) -> None:
    """Messages of any shape, from a store that anybody may have written."""
    odd = record(messages=tuple(talk), text=text, tool_calls=tuple(calls), tools=tuple(tools), settings=settings)
    assert call_screen([odd], width, full=full)
    assert max(map(columns, call_screen([record(text=text, messages=())], width, full=full).split("\n"))) <= width


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf"), 10**400, -(10**5000)], ids=range(5))
def test_numbers_that_cannot_be_true_break_nothing(number: Any) -> None:
    """Each alone and all together, whatever became of the attempt."""
    usage = LLMUsage(prompt_tokens=number, completion_tokens=number, total_tokens=number, cached_tokens=number)
    names = ["elapsed_ms", "wait_ms", "offset_ms", "first_token_ms", "retry_after", "cost_usd", "attempt",
             "status_code"]  # fmt: skip
    odd: dict[str, Any] = dict.fromkeys(names, number)
    for fields in (odd | {"usage": usage}, *({name: number} for name in names), {"usage": usage}):
        for verdict, outcome in (("retry", "error"), ("return", "ok"), ("next", "skipped")):
            assert call_screen([record(**fields, verdict=verdict, outcome=outcome), record()], 60)


def test_every_call_of_a_week_can_be_shown_at_any_width() -> None:
    """No line is wider than the terminal, and colours add nothing to the text."""
    by_call: dict[str, list[TraceRecord]] = {}
    for one in trace_set(80, seed=9, full=True):
        by_call.setdefault(one.request_id, []).append(one)
    for number, records in enumerate(by_call.values()):
        width = 24 + 3 * number
        plain = call_screen(records, width)
        assert max(map(len, plain.split("\n"))) <= width
        coloured = re.sub(r"\x1b\[[\d;]*m", "", call_screen(records, width, color=True))
        assert [line.rstrip() for line in coloured.split("\n")] == plain.split("\n")


# --- the command ---

IDS = [
    "019a0000-0000-7000-8000-00000000aa01",
    "019a0000-0000-7000-8000-00000000bb02",
    "019b0000-0000-7000-8000-0000cafe0003",
]


@pytest.fixture
def traces(here: Path) -> list[str]:
    """Three calls in the folder `t`; their ids, oldest first."""
    store = LocalFileTraceStore(here / "t", keep_days=0)
    for number, name in enumerate(IDS):
        at = f"2027-01-15T08:16:4{number}.000000Z"
        store.write(record(request_id=name, started_at=at, text=f"answer {number}\nend"))
    store.close()
    return IDS


@pytest.mark.parametrize(
    ("wanted", "number"), [(IDS[0], 0), ("019b", 2), ("cafe0003", 2), ("0000BB02", 1), ("@1", 2), ("@3", 0)]
)
def test_a_call_is_named_by_its_id_a_part_of_it_or_its_place(
    run: Run, traces: list[str], wanted: str, number: int
) -> None:
    """The whole id, its beginning, its end as the listing shows it; the newest is @1."""
    code, out, err = run("trace", "show", wanted, "--dir", "t")
    assert (code, err) == (0, "")
    assert traces[number] in out.splitlines()[0]
    assert run("trace", "--dir", "t", "show", wanted)[1] == out


@pytest.mark.parametrize(
    ("wanted", "told"),
    [("019a", "more than one"), ("nope", "no call"), ("@4", "fewer than 4"), ("@0", "@1"), ("@x", "@1"),
     ("", "no call"), ("02", "no call"), ("\x1b[2J", "no call"), ("*", "no call"), ("../t", "no call")],
)  # fmt: skip
def test_a_name_of_none_or_of_several_calls_is_refused(run: Run, traces: list[str], wanted: str, told: str) -> None:
    """Exit code 2, and the ids that it may be."""
    code, out, err = run("trace", "show", wanted, "--dir", "t")
    assert (code, out, told in err, "\x1b" in err) == (2, "", True, False)


def test_the_newest_call_where_there_is_none_is_told_so(run: Run) -> None:
    """Not that there are "fewer than 1 calls"."""
    code, _, err = run("trace", "show", "@1")
    assert (code, "no calls traced yet" in err) == (2, True)


def test_a_call_as_json_has_its_figures_and_its_records(run: Run, traces: list[str]) -> None:
    """Fields can be picked of both; of one alone the text is printed as it is."""
    data = json.loads(run("trace", "show", "@1", "--dir", "t", "--json")[1])
    assert (data["id"], data["outcome"], data["total_ms"]) == (traces[2], "ok", 1000.0)
    assert [TraceRecord.from_json(json.dumps(one)).text for one in data["records"]] == ["answer 2\nend"]
    picked = run("trace", "show", "@1", "--dir", "t", "--json", "--fields", "text,total_ms,usage.total_tokens")[1]
    assert json.loads(picked) == {"text": "answer 2\nend", "total_ms": 1000.0, "usage.total_tokens": None}
    assert run("trace", "show", "@1", "--dir", "t", "--fields", "text")[1] == "answer 2\nend\n"
    assert run("trace", "show", "@1", "--dir", "t", "--fields", "role,tried")[1] == "role   planner\ntried  1\n"
    code, _, err = run("trace", "show", "@1", "--dir", "t", "--fields", "texts")
    assert (code, "did you mean text" in err) == (2, True)


def test_options_of_the_listing_are_refused_before_a_command(run: Run, traces: list[str]) -> None:
    """They would not be heeded."""
    code, _, err = run("trace", "--dir", "t", "--role", "x", "show", "@1")
    assert (code, "put it after the command" in err) == (2, True)


def test_every_field_of_a_call_can_be_picked(run: Run, traces: list[str]) -> None:
    code, out, _ = run("trace", "show", "@1", "--dir", "t", "--fields", ",".join(CALL_FIELDS))
    assert (code, len(out.splitlines())) == (0, len(CALL_FIELDS))


def test_a_call_that_the_router_made_is_shown_with_what_was_said(run: Run, here: Path) -> None:
    """By whoever was asked, and why."""
    (here / "lee-llm-router.yaml").write_text(FULL)
    run("complete", "--role", "chain", "what now?")
    out = run("trace", "show", "@1")[1]
    assert "first of the chain" in out
    assert "fallback after busy: RATE_LIMIT" in out
    assert out.count("what now?") == 2, "asked, and echoed"
