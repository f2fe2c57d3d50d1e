"""The command `trace`: which calls it lists, and in which form."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from helpers.command_line import Run
from helpers.records import make
from helpers.trace_set import WEEK_START, trace_set
from lee_llm_router import LocalFileTraceStore, SqliteTraceStore, TraceRecord
from lee_llm_router.cli.trace.group import newest_calls
from lee_llm_router.telemetry.calls import TracedCall, calls_from
from lee_llm_router.telemetry.query import CallFilter

RECORDS = list(trace_set(60, seed=3, full=True))
CALLS = calls_from(RECORDS)


@pytest.fixture
def traces(here: Path) -> Path:
    """A folder with a week of calls."""
    store = LocalFileTraceStore(here / "t", keep_days=0)
    for record in RECORDS:
        store.write(record)
    store.close()
    return here / "t"


def ids(run: Run, *options: str) -> list[str]:
    """The ids of the calls that are listed, in their order."""
    code, out, err = run("trace", "--dir", "t", "--last", "1000", *options, "--fields", "id")
    assert (code, err) == (0, ""), err
    return out.split()[1:] if out.startswith("id") else []


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ((), lambda call: True),
        (("--role", "planner"), lambda call: call.role == "planner"),
        (("--role", "*er"), lambda call: call.role.endswith("er")),
        (("--provider", "groq"), lambda call: any(r.provider == "groq" for r in call.records)),
        (("--model", "claude-*"), lambda call: any((r.model or "").startswith("claude-") for r in call.records)),
        (("--status", "ok"), lambda call: call.outcome == "ok"),
        (("--status", "error"), lambda call: call.outcome == "error"),
        (("--status", "fallback"), lambda call: call.is_saved),
        (("--status", "cut"), lambda call: call.is_cut),
        (("--failure", "rate-limit"), lambda call: any(r.failure_type == "RATE_LIMIT" for r in call.records)),
        (("--slower-than", "1.5s"), lambda call: call.total_ms >= 1500),
        (("--slower-than", "800ms"), lambda call: call.total_ms >= 800),
        (("--slower-than", "1"), lambda call: call.total_ms >= 1000),
        (("--metadata", "tenant=acme"), lambda call: call.records[0].metadata["tenant"] == "acme"),
        (
            ("--metadata", "tenant=acme", "--metadata", "job=3"),
            lambda call: dict(call.records[0].metadata) == {"tenant": "acme", "job": 3},
        ),
        (("--grep", "BRING blankets"), lambda call: call.last.text is not None and "Bring" in call.last.text),
        (("--grep", '"dates": ["2027'), lambda call: call.last.text is not None and "dates" in call.last.text),
        (("--grep", "failure_type"), lambda call: False),
        (("--since", "2027-01-17"), lambda call: call.started.timestamp() >= WEEK_START + 2 * 86400),
        (
            ("--since", "2027-01-17T12:00", "--until", "2027-01-18T02:00+02:00"),
            lambda call: WEEK_START + 2.5 * 86400 <= call.started.timestamp() < WEEK_START + 3 * 86400,
        ),
        (("--role", "planner", "--status", "error"), lambda call: call.role == "planner" and call.outcome == "error"),
    ],
)  # fmt: skip
def test_options_choose_calls(run: Run, traces: Path, options: tuple[str, ...], fits: object) -> None:
    """Each alone and together; all that fit, the newest at the end."""
    assert callable(fits)
    assert ids(run, *options) == [call.request_id for call in CALLS if fits(call)]


def test_the_newest_that_match_are_counted(run: Run, traces: Path) -> None:
    """Not those that match among the newest."""
    wanted = [call.request_id for call in CALLS if call.outcome == "error"][-3:]
    assert ids(run, "--status", "error", "-n", "3") == wanted
    assert len(wanted) == 3


def test_reading_ends_with_the_last_call_that_is_wanted() -> None:
    """A long history is not read for a few calls."""

    class Endless:
        def calls(self, since: float | None, until: float | None) -> object:
            yield TracedCall((make(role="planner"),))
            yield TracedCall((make(role="planner"),))
            raise AssertionError("more was read than was asked for")

    assert len(newest_calls(Endless(), CallFilter(role="planner"), 2)) == 2  # type: ignore[arg-type]


def test_records_are_printed_as_json_whole_or_by_fields(run: Run, traces: Path) -> None:
    """One a line; filters hold for them too."""
    out = run("trace", "--dir", "t", "--json", "--status", "fallback", "-n", "2")[1]
    saved = [call for call in CALLS if call.is_saved][-2:]
    assert [TraceRecord.from_json(line) for line in out.splitlines()] == [r for call in saved for r in call.records]
    out = run("trace", "--dir", "t", "--json", "--fields", "role,metadata.job,usage.total_tokens", "-n", "1")[1]
    last = CALLS[-1].records
    assert [json.loads(line) for line in out.splitlines()] == [
        {"role": r.role, "metadata.job": r.metadata["job"],
         "usage.total_tokens": None if r.usage is None else r.usage.total_tokens} for r in last
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--fields", "rol"), "did you mean role"),
        (("--fields", "costs"), "did you mean cost"),
        (("--fields", ","), "names separated by commas"),
        (("--fields", "role."), "no field 'role.'"),
        (("--json", "--fields", "tried"), "no field 'tried'"),
        (("--failure", "RATELIMIT"), "did you mean 'RATE_LIMIT'"),
        (("--since", "2 parsecs"), "15m, 2h, 3d"),
        (("--until", "2027-13-01"), "2027-01-15"),
        (("--since", "yesterdy"), "today, yesterday"),
        (("--slower-than", "long"), "800ms, 1.5s"),
        (("--slower-than", "-1"), "800ms, 1.5s"),
        (("--metadata", "tenant"), "NAME=VALUE"),
        (("--status", "good"), "fallback"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_can(
    run: Run, traces: Path, options: tuple[str, ...], told: str
) -> None:
    """Exit code 2, and how it is written."""
    code, out, err = run("trace", "--dir", "t", *options)
    assert (code, out) == (2, "")
    assert told in " ".join(err.replace("│", " ").split())


def test_where_nothing_matches_that_is_said(run: Run, traces: Path) -> None:
    """It is no failure; as JSON it is no line."""
    assert run("trace", "--dir", "t", "--role", "nobody") == (0, f"no such calls traced in {traces}\n", "")
    assert run("trace", "--dir", "t", "--role", "nobody", "--json") == (0, "", "")


@pytest.mark.parametrize("command", [("trace",), ("trace", "stats")])
def test_where_nothing_matches_in_a_database_its_file_is_named(run: Run, here: Path, command: tuple[str, ...]) -> None:
    with closing(SqliteTraceStore(here / "t" / "traces.sqlite")) as store:
        store.write(RECORDS[0])
    told = f"no such calls traced in {here / 't' / 'traces.sqlite'}\n"
    assert run(*command, "--dir", "t", "--role", "nobody") == (0, told, "")
