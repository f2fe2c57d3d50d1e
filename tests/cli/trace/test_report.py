"""`trace report` writes one file, whole or not at all; `trace serve` prints its address and ends by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Run, command
from helpers.hostile_traces import hostile_traces
from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_set import trace_set
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.cli.trace.report import filter_words
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.query import CallFilter

Kept = Callable[..., Path]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Write records into a folder."""

    def keep(records: list[TraceRecord]) -> Path:
        store = LocalFileTraceStore(tmp_path / "traces")
        for record in records:
            store.write(record)
        store.close()
        return tmp_path / "traces"

    return keep


def _data(page: str) -> Any:
    found = re.search(r'id="data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_report_writes_a_page_that_only_its_owner_reads(run: Run, kept: Kept, here: Path) -> None:
    """It may hold prompts. The name of the file is printed."""
    folder = kept(list(trace_set(12)))
    assert run("trace", "report", "--dir", str(folder)) == (0, "report.html\n", "")
    page = here / "report.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert len(_data(page.read_text())["calls"]) == 12
    assert [path.name for path in here.iterdir() if "report" in path.name] == ["report.html"]


def test_report_replaces_a_file_and_prints_to_a_pipe(run: Run, kept: Kept, here: Path) -> None:
    folder = kept([make("a")])
    (here / "old.html").write_text("old")
    (here / "link.html").symlink_to("old.html")
    assert run("trace", "report", "--dir", str(folder), "-o", "link.html")[0] == 0
    assert (here / "link.html").is_symlink()
    assert "old" not in (here / "old.html").read_text()[:10]
    code, out, err = run("trace", "report", "--dir", str(folder), "-o", "-")
    assert (code, err, len(_data(out)["calls"])) == (0, "", 1)


def test_report_writes_to_what_is_no_file(run: Run, kept: Kept) -> None:
    """A device or a pipe is written to, and stays what it is."""
    folder = kept([make("a")])
    assert run("trace", "report", "--dir", str(folder), "-o", "/dev/null") == (0, "/dev/null\n", "")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("place", ["missing/report.html", "file/report.html", "x" * 300 + ".html"])
def test_a_report_that_cannot_be_written_is_an_error_and_leaves_nothing(
    run: Run, kept: Kept, here: Path, place: str
) -> None:
    folder = kept([make("a")])
    (here / "file").touch()
    before = sorted(path.name for path in here.iterdir())
    code, out, err = run("trace", "report", "--dir", str(folder), "-o", place)
    assert (code, out) == (1, "")
    assert "cannot be written" in err
    assert sorted(path.name for path in here.iterdir()) == before


def test_report_takes_the_filters_of_trace_and_says_which(run: Run, kept: Kept, here: Path) -> None:
    folder = kept(list(trace_set(60, seed=3)))
    assert run("trace", "report", "--dir", str(folder), "--role", "planner", "--status", "ok")[0] == 0
    data = _data((here / "report.html").read_text())
    assert {data["names"][row[2]] for row in data["calls"]} == {"planner"}
    assert {row[3] for row in data["calls"]} == {0}
    assert data["filter"] == "role planner, status ok"


def test_calls_beyond_the_last_are_summed_up(run: Run, kept: Kept, here: Path) -> None:
    """And none is lost; the newest are those with rows of their own."""
    folder = kept([make(f"call {number}", at=EPOCH + number) for number in range(9)])
    assert run("trace", "report", "--dir", str(folder), "--last", "4")[0] == 0
    data = _data((here / "report.html").read_text())
    assert [row[0] for row in data["calls"]] == ["call 8", "call 7", "call 6", "call 5"]
    assert sum(cell[3] for cell in data["older"]) == 5


def test_report_without_traces_is_a_page_that_says_so(run: Run, here: Path) -> None:
    (here / "empty").mkdir()
    assert run("trace", "report", "--dir", "empty")[0] == 0
    assert _data((here / "report.html").read_text())["calls"] == []


def test_hostile_traces_reach_the_page_and_not_the_terminal(run: Run, kept: Kept, here: Path) -> None:
    folder = kept(hostile_traces())
    code, out, err = run("trace", "report", "--dir", str(folder))
    assert (code, out, err) == (0, "report.html\n", "")
    assert (here / "report.html").read_text().count("</script>") == 3


def test_the_name_of_a_file_is_shown_and_not_obeyed(run: Run, kept: Kept) -> None:
    folder = kept([make("a")])
    assert run("trace", "report", "--dir", str(folder), "-o", "\x1b[2J.html")[1] == "\\x1b[2J.html\n"


def test_filters_are_told_in_words() -> None:
    assert filter_words(CallFilter()) is None
    told = filter_words(CallFilter(since=EPOCH, slower_than=1.5, metadata={"tenant": "acme"}, grep="x"))
    assert told is not None
    assert re.fullmatch(r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC, slower than 1.5 s, metadata tenant=acme, grep x", told)


def test_serve_prints_its_address_serves_and_ends_by_ctrl_c(kept: Kept, here: Path) -> None:
    """The address stands alone on standard output; nothing else is printed, and the port is free again."""
    folder = kept([make("served")])
    with subprocess.Popen(
        command("trace", "serve", "--dir", str(folder)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", url)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=30) as answer:
            assert b'"served"' in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            opener.open(url.partition("?")[0], timeout=30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_serve_says_that_a_port_is_taken(run: Run, kept: Kept) -> None:
    folder = kept([make("a")])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, err = run("trace", "serve", "--dir", str(folder), "--port", str(taken.getsockname()[1]))
    assert (code, out) == (2, "")
    assert "cannot be used" in err


def test_open_gives_a_browser_an_address_without_the_token(
    run: Run, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others on the machine can see the command line of the browser; the address it gets holds once."""
    opened: list[str] = []

    def open_and_interrupt(url: str) -> bool:
        opened.append(url)
        os.kill(os.getpid(), signal.SIGINT)
        return True

    monkeypatch.setattr("webbrowser.open", open_and_interrupt)
    folder = kept([make("a")])
    code, out, _ = run("trace", "serve", "--dir", str(folder), "--open")
    assert code == 130
    assert "/?once=" in opened[0]
    assert out.strip().partition("token=")[2] not in opened[0]
