"""The local trace store: what was written is found again, whatever happens to the process, the files or the disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.records import make
from helpers.support import EPOCH, FakeClock
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord, TraceStore
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

DAY = 86_400


def clock_at(seconds: float) -> FakeClock:
    """A clock that says `seconds` after EPOCH."""
    clock = FakeClock()
    clock.now = seconds
    return clock


def ids(records: list[TraceRecord]) -> list[tuple[str, int | None]]:
    return [(record.request_id, record.attempt) for record in records]


def day_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jsonl"))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with_store = LocalFileTraceStore(tmp_path / "traces")
    yield with_store
    with_store.close()


# --- where and how it is written ---


def test_is_a_trace_store(store: LocalFileTraceStore) -> None:
    """It satisfies the protocol that routers ask for."""
    assert isinstance(store, TraceStore)
    assert "traces" in repr(store)


def test_nothing_touches_the_disk_before_the_first_write(tmp_path: Path) -> None:
    """Building a store and reading from it makes no folder, and finds nothing."""
    store = LocalFileTraceStore(tmp_path / "a" / "b")
    assert store.last(5) == [] == store.find("x")
    assert list(tmp_path.iterdir()) == []


def test_one_line_of_json_in_the_file_of_the_utc_day(tmp_path: Path) -> None:
    """The file is named after the day of writing, and a line is plain JSON."""
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    store.write(make(model="m"))
    store.close()
    assert day_files(tmp_path) == ["20270115.jsonl"]
    (line,) = (tmp_path / "20270115.jsonl").read_text().splitlines()
    assert json.loads(line)["model"] == "m"


def test_only_the_owner_may_read_what_is_made_and_git_ignores_it(tmp_path: Path) -> None:
    """Folder 0700, file 0600, and a .gitignore that hides all of it, however permissive the umask."""
    old = os.umask(0)
    try:
        store = LocalFileTraceStore(tmp_path / "traces")
        store.write(make())
        store.close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "traces").stat().st_mode) == 0o700
    (file,) = (tmp_path / "traces").glob("*.jsonl")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (tmp_path / "traces" / ".gitignore").read_text() == "*\n"


def test_a_folder_with_other_things_in_it_is_not_hidden_from_git(tmp_path: Path) -> None:
    """A user's own folder keeps its files in sight."""
    (tmp_path / "main.py").touch()
    store = LocalFileTraceStore(tmp_path)
    store.write(make())
    store.close()
    assert not (tmp_path / ".gitignore").exists()


def test_the_default_folder_is_under_the_workspace_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.lee-llm-router/traces`; a relative folder is taken from the workspace; a later chdir moves nothing."""
    monkeypatch.chdir(tmp_path)
    here = LocalFileTraceStore()
    monkeypatch.chdir("/")
    assert here.trace_dir == tmp_path / ".lee-llm-router/traces"
    assert LocalFileTraceStore(workspace=tmp_path / "w").trace_dir == tmp_path / "w/.lee-llm-router/traces"
    assert LocalFileTraceStore("t", workspace=tmp_path).trace_dir == tmp_path / "t"
    assert LocalFileTraceStore(tmp_path, workspace="/elsewhere").trace_dir == tmp_path


def test_a_current_directory_that_is_gone_breaks_write_not_the_constructor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building a router in a deleted directory works; the trace that cannot be written is an OSError."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    store = LocalFileTraceStore()
    with pytest.raises(OSError):
        store.write(make())
    monkeypatch.chdir(tmp_path)


def test_a_folder_that_cannot_be_made_raises_from_write_and_works_once_it_can(tmp_path: Path) -> None:
    """A file where the folder should be: OSError each time; when it is out of the way, records are kept."""
    (tmp_path / "traces").touch()
    store = LocalFileTraceStore(tmp_path / "traces")
    for _ in range(2):
        with pytest.raises(OSError):
            store.write(make())
    (tmp_path / "traces").unlink()
    store.write(make("late"))
    assert ids(store.last(9)) == [("late", 0)]
    store.close()


def test_write_after_close_opens_again(store: LocalFileTraceStore) -> None:
    """A record that comes late is not lost."""
    store.write(make("a"))
    store.close()
    store.close()
    store.write(make("b"))
    assert ids(store.last(2)) == [("a", 0), ("b", 0)]


def test_a_dropped_store_gives_its_descriptor_back(tmp_path: Path) -> None:
    """Not closing leaks nothing once the store is gone."""
    before = open_descriptors()
    store = LocalFileTraceStore(tmp_path)
    store.write(make())
    assert open_descriptors() == before + 1
    del store
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# --- days ---


def test_midnight_starts_a_new_file_and_old_files_go(tmp_path: Path) -> None:
    """Each record lands in the file of its day, to the second; files beyond `keep_days` are deleted, no others."""
    clock = clock_at(0)
    clock.now = DAY - EPOCH % DAY - 0.001
    for name in ("20261201.jsonl", "20270101.jsonl", "20261201.json", "notes.txt", "2026.jsonl"):
        (tmp_path / name).touch()
    store = LocalFileTraceStore(tmp_path, keep_days=15, clock=clock)
    store.write(make("before"))
    assert day_files(tmp_path) == ["2026.jsonl", "20270101.jsonl", "20270115.jsonl"]
    clock.advance(0.001)
    store.write(make("after"))
    assert day_files(tmp_path) == ["2026.jsonl", "20270101.jsonl", "20270115.jsonl", "20270116.jsonl"]
    clock.advance(DAY)
    store.write(make("next"))
    assert day_files(tmp_path) == ["2026.jsonl", "20270115.jsonl", "20270116.jsonl", "20270117.jsonl"]
    assert (tmp_path / "20261201.json").exists()
    assert (tmp_path / "notes.txt").exists()
    assert ids(store.last(3)) == [("before", 0), ("after", 0), ("next", 0)]
    store.close()


@pytest.mark.parametrize("keep_days", [0, 10**9])
def test_old_files_may_be_kept_for_ever(tmp_path: Path, keep_days: int) -> None:
    """0 keeps all, and so does a number of days that no calendar has."""
    (tmp_path / "19991231.jsonl").touch()
    store = LocalFileTraceStore(tmp_path, keep_days=keep_days)
    store.write(make())
    store.close()
    assert "19991231.jsonl" in day_files(tmp_path)


def test_an_old_file_that_cannot_be_deleted_does_not_stop_the_writing(tmp_path: Path) -> None:
    """Tidying up is not worth a record."""
    (tmp_path / "19991231.jsonl").mkdir()
    store = LocalFileTraceStore(tmp_path)
    store.write(make("a"))
    store.close()
    assert '"a"' in next(tmp_path.glob("2*.jsonl")).read_text()


# --- the file is taken away while in use ---


def remove_file(file: Path) -> None:
    file.unlink()


def remove_folder(file: Path) -> None:
    for path in file.parent.iterdir():
        path.unlink()
    file.parent.rmdir()


def move_file(file: Path) -> None:
    file.rename(file.with_name("rotated"))


def replace_file(file: Path) -> None:
    new = file.with_name("new")
    new.touch()
    new.rename(file)


@pytest.mark.parametrize("disturb", [remove_file, remove_folder, move_file, replace_file])
def test_a_file_taken_away_is_made_anew(tmp_path: Path, disturb: Callable[[Path], None]) -> None:
    """The next record is in a file at the usual path, not in one nobody can find."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path / "traces", clock=clock)
    store.write(make("before"))
    disturb(tmp_path / "traces" / "20270115.jsonl")
    clock.advance(1)
    store.write(make("after"))
    store.write(make("more"))
    assert ids(store.last(9)) == [("after", 0), ("more", 0)]
    store.close()


def test_a_descriptor_closed_and_given_to_another_file_is_left_alone(tmp_path: Path) -> None:
    """A daemon closes every descriptor; its next file gets the number. No record goes there, and it stays open."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path / "traces", clock=clock)
    number = os.dup(0)
    os.close(number)
    store.write(make("before"))
    assert os.path.samestat(os.fstat(number), (tmp_path / "traces" / "20270115.jsonl").stat())
    os.close(number)
    foreign = os.open(tmp_path / "foreign", os.O_CREAT | os.O_RDWR)
    assert foreign == number
    try:
        clock.advance(1)
        store.write(make("after"))
        store.close()
        assert os.pread(foreign, 10, 0) == b""
    finally:
        os.close(foreign)
    assert ids(store.last(2)) == [("before", 0), ("after", 0)]


# --- disk full, short writes, torn lines ---


def test_after_a_short_write_the_next_record_is_whole(
    store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut record raises OSError and is skipped by readers; the one before and the one after it are there."""
    store.write(make("before"))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    with pytest.raises(OSError, match="bytes of a trace record"):
        store.write(make("cut"))
    monkeypatch.undo()
    store.write(make("after"))
    assert ids(store.last(9)) == [("before", 0), ("after", 0)]
    assert store.skipped == 1


def test_a_full_disk_raises_and_harms_nothing(store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC reaches the caller of `write`; with space again, records are kept."""

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.write(make("before"))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError) as caught:
        store.write(make("lost"))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    store.write(make("after"))
    assert ids(store.last(9)) == [("before", 0), ("after", 0)]
    assert store.skipped == 0


def test_a_file_at_its_size_limit_keeps_what_it_has(tmp_path: Path) -> None:
    """A child whose files may have 5,000 bytes: every record whose write returned is read back, and no other."""
    script = """
import resource, signal, sys
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
from helpers.records import make
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
store = LocalFileTraceStore(sys.argv[1])
for n in range(20):
    try:
        store.write(make(f"id-{n}"))
    except OSError:
        continue
    print(f"id-{n}")
"""
    done = run_child(script, str(tmp_path)).stdout.split()
    store = LocalFileTraceStore(tmp_path)
    assert 0 < len(done) < 20
    assert [record.request_id for record in store.last(99)] == done


def run_child(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *args], env=child_env(), capture_output=True, text=True, check=True, timeout=60
    )


def child_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}


def test_a_line_cut_by_another_process_takes_no_record_with_it(tmp_path: Path) -> None:
    """A torn line at the end of the file is ended before the first record; one that a record was glued to is salvaged.

    Blank lines are nothing; garbage is counted.
    """
    clock = clock_at(0)
    file = tmp_path / "20270115.jsonl"
    torn = make("torn").to_json()[:100]
    glued = torn + make("glued").to_json()
    file.write_bytes(b"\n\n" + glued + b"\nnot json\n[]\n{}\n\x00\x00\n" + torn)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    store.write(make("whole"))
    assert ids(store.last(9)) == [("glued", 0), ("whole", 0)]
    assert store.skipped == 6
    assert ids(store.find("glued")) == [("glued", 0)]
    assert store.skipped == 1
    store.close()


# --- many writers ---


def test_kill_9_loses_no_record_that_was_reported(tmp_path: Path) -> None:
    """A child writes in a loop and says so after each; killed at once, everything it said is in the file."""
    script = """
import sys
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
from helpers.records import make
store = LocalFileTraceStore(sys.argv[1])
n = 0
while True:
    store.write(make(f"id-{n}", metadata={"filler": "x" * 20_000}))
    print(f"id-{n}", flush=True)
    n += 1
"""
    reported: list[str] = []
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], env=child_env(), stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(50)]
            child.send_signal(signal.SIGKILL)
            said += child.stdout.readlines()
        assert child.returncode == -signal.SIGKILL
        reported += [line.strip() for line in said if line.endswith("\n")]
    store = LocalFileTraceStore(tmp_path)
    kept = [record.request_id for record in store.last(1_000_000)]
    assert set(reported) <= set(kept)
    assert len(reported) >= 150
    store.write(make("after"))
    assert ids(store.last(1)) == [("after", 0)]
    store.close()


def test_large_lines_of_four_processes_stay_whole(tmp_path: Path) -> None:
    """Four processes write lines of 200 kB to one file: none is mixed with another."""
    script = """
import sys
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
from helpers.records import make
store = LocalFileTraceStore(sys.argv[1])
for n in range(25):
    store.write(make(f"{sys.argv[2]}-{n}", text=sys.argv[2] * 200_000))
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), letter], env=child_env()) for letter in "abcd"
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    store = LocalFileTraceStore(tmp_path)
    records = store.last(1000)
    assert store.skipped == 0
    assert sorted(r.request_id for r in records) == sorted(f"{letter}-{n}" for letter in "abcd" for n in range(25))
    assert all(record.text == record.request_id[0] * 200_000 for record in records)


def test_threads_write_while_the_file_is_swapped(tmp_path: Path) -> None:
    """Eight threads write over many midnights and closes: every record is kept, once."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=0, clock=clock)

    def work(name: int) -> None:
        for n in range(100):
            if n % 10 == name:
                clock.advance(DAY)
            if n % 17 == name:
                store.close()
            store.write(make(f"{name}-{n}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    lines = [line for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    kept = [json.loads(line)["request_id"] for line in lines]
    assert sorted(kept) == sorted(f"{name}-{n}" for name in range(8) for n in range(100))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_write_does_not_hang_the_child(
    store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child finds the store free, though a thread of its parent was writing; both write on."""
    writing, go_on = threading.Event(), threading.Event()
    real = os.write

    def slow(fd: int, data: bytes) -> int:
        writing.set()
        go_on.wait(30)
        return real(fd, data)

    store.write(make("first"))
    monkeypatch.setattr(os, "write", slow)
    thread = threading.Thread(target=store.write, args=(make("parent"),))
    thread.start()
    writing.wait(30)
    pid = os.fork()
    if pid == 0:
        os.write = real
        signal.alarm(30)
        store.write(make("child"))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    go_on.set()
    thread.join()
    assert status == 0
    assert ids(store.last(9)) == [("first", 0), ("child", 0), ("parent", 0)]


def test_a_write_inside_a_write_does_not_hang(store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream collected as garbage leaves its trace, even while this very thread is writing one."""
    real = os.write
    nested = [make("inner")]

    def write(fd: int, data: bytes) -> int:
        if nested:
            store.write(nested.pop())
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    store.write(make("outer"))
    assert ids(store.last(9)) == [("inner", 0), ("outer", 0)]


# --- reading ---


def test_last_gives_whole_calls_oldest_first_though_they_were_mixed(tmp_path: Path) -> None:
    """Calls that ran at once are told apart; the n whose records came last are given, with all their attempts."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    names = [new_request_id(EPOCH + n) for n in range(4)]
    order = [(0, 0), (1, 0), (0, 1), (2, 0), (3, 0), (2, 1), (1, 1), (3, None)]
    for call, attempt in order:
        store.write(make(names[call], attempt, at=EPOCH + 10))
    assert ids(store.last(1)) == [(names[3], 0), (names[3], None)]
    assert ids(store.last(2)) == [(names[1], 0), (names[1], 1), (names[3], 0), (names[3], None)]
    assert [name for name, _ in ids(store.last(99))] == [names[n] for n in (0, 0, 2, 2, 1, 1, 3, 3)]
    assert store.last(0) == []
    store.close()


def test_last_and_find_follow_a_call_over_midnight(tmp_path: Path) -> None:
    """Attempts of one call in two files are one call."""
    clock = clock_at(DAY - EPOCH % DAY - 1)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    call = new_request_id(clock.time())
    store.write(make(new_request_id(clock.time() - 50), at=clock.time() - 50))
    for attempt in range(3):
        store.write(make(call, attempt, at=clock.time()))
        clock.advance(1)
    assert len(day_files(tmp_path)) == 2
    assert ids(store.last(1)) == ids(store.find(call)) == [(call, 0), (call, 1), (call, 2)]
    store.close()


def test_last_reads_no_more_than_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a history of 20 MB over several days, `last` reads some blocks from the end; `find` the right file."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, keep_days=0, clock=clock)
    names = []
    for _ in range(4):
        for _ in range(250):
            names.append(new_request_id(clock.time()))
            store.write(make(names[-1], at=clock.time(), metadata={"filler": "x" * 20_000}))
            clock.advance(5)
        clock.advance(DAY)
    store.close()
    read: list[int] = []
    real = os.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        read.append(size)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", counting)
    assert [record.request_id for record in store.last(2)] == names[-2:]
    assert sum(read) < 500_000
    read.clear()
    assert [record.request_id for record in store.find(names[300])] == [names[300]]
    assert sum(read) < 11_000_000


def test_last_finds_all_attempts_of_calls_whose_ids_hold_no_time(store: LocalFileTraceStore) -> None:
    """Ids of another make: attempts up to an hour back are found, and nobody reads for ever."""
    store.write(make("old", at=EPOCH - 5000))
    store.write(make("mine", 0, at=EPOCH))
    store.write(make("other", 0, at=EPOCH + 1))
    store.write(make("mine", 1, at=EPOCH + 3000))
    assert ids(store.last(1)) == [("mine", 0), ("mine", 1)]
    assert ids(store.find("mine")) == [("mine", 0), ("mine", 1)]


def test_records_with_times_that_are_none_are_read_all_the_same(store: LocalFileTraceStore) -> None:
    """A time nobody understands, a local one, and one at the end of the calendar harm no reader."""
    for n, text in enumerate(["yesterday", "2027-01-15T08:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]):
        store.write(make(f"id-{n}", started_at=text, elapsed_ms=1e300))
    assert len(store.last(2)) == 2
    assert len(store.last(9)) == 4


def test_an_id_is_found_where_a_wrong_clock_put_it(tmp_path: Path) -> None:
    """A call written to a file of an earlier day than its id says is found, only later."""
    store = LocalFileTraceStore(tmp_path, clock=clock_at(0))
    call = new_request_id(EPOCH + 3 * DAY)
    store.write(make(call))
    store.write(make(new_request_id(EPOCH)))
    assert ids(store.find(call)) == [(call, 0)]
    assert store.find(new_request_id(EPOCH)) == []
    assert store.find("") == store.find("\ud800") == []
    store.close()


def test_a_file_deleted_between_listing_and_reading_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may tidy up while this one reads."""
    clock = clock_at(0)
    store = LocalFileTraceStore(tmp_path, clock=clock)
    store.write(make("a"))
    clock.advance(DAY)
    store.write(make("b"))
    real = os.open

    def gone(path: Any, *args: Any, **kwargs: Any) -> Any:
        if Path(path).name == "20270115.jsonl":
            Path(path).unlink()
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", gone)
    assert ids(store.last(9)) == [("b", 0)]
    store.close()


# --- records as JSON ---


CAPTURED = {"messages", "tools", "settings", "text", "reasoning", "tool_calls"}


def test_every_field_is_present_and_prompts_only_where_captured() -> None:
    """Null stands for what is not known; `messages` and `text` are absent unless one is there, as a share is."""
    data = json.loads(make().to_json())
    assert set(data) == set(TraceRecord.__dataclass_fields__) - CAPTURED - {"kept_share"}
    assert data["usage"] is None
    assert data["schema"] == 1
    full = json.loads(make(text="hi", metadata={"text": 1}, kept_share=0.5).to_json())
    assert set(full) == set(TraceRecord.__dataclass_fields__)
    assert full["metadata"] == {"text": 1}


LETTERS = 'aZ0 é你😀\n\r\t"\\/\x00\x7f\u2028\ufeff'
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(LETTERS, max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
words = st.none() | st.text(LETTERS, max_size=20)
numbers = st.none() | st.integers(0, 10**12)


@given(
    metadata=st.dictionaries(st.text(LETTERS, max_size=5), json_values, max_size=3),
    usage=st.none() | st.builds(LLMUsage, prompt_tokens=numbers, cached_tokens=numbers),
    error=words,
    text=words,
    messages=st.none() | st.just(({"role": "user", "content": "x"},)),
    attempt=st.none() | st.integers(0, 100),
    cost_usd=st.none() | st.floats(0, 1e6),
)
def test_a_record_read_back_is_the_record_written(**fields: Any) -> None:
    """`from_json(to_json())` is the identity for everything JSON can hold."""
    record = make(**fields)
    assert TraceRecord.from_json(record.to_json()) == record
    assert b"\n" not in record.to_json()


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


cycle: dict[str, Any] = {"a": 1}
cycle["self"] = [cycle, cycle]
deep: Any = "bottom"
for _ in range(230):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("lone \ud83d surrogate", "lone \\ud83d surrogate"),
        (float("nan"), None),
        (b"\xff\x00", "_wA="),
        (MappingProxyType({"k": (1, {2})}), {"k": [1, [2]]}),
        ({("a", 1): "x"}, {"a,1": "x"}),
        (LLMUsage(total_tokens=1), {**dict.fromkeys(LLMUsage.__dataclass_fields__), "total_tokens": 1}),
        (Hostile(), "<Hostile>"),
        (cycle, {"a": 1, "self": ["...", "..."]}),
        ({"\ud800": object()}, {"\\ud800": "<object>"}),
        ({Hostile(): 1}, "<dict>"),
        (10**400, 10**400),
    ],
)
def test_what_json_cannot_hold_costs_no_record(value: Any, kept: Any) -> None:
    """The record is written and read, with a stand-in for the value; the rest of it is untouched."""
    record = TraceRecord.from_json(make(metadata={"bad": value, "good": "é"}, error="x").to_json())
    assert record.metadata == {"bad": kept, "good": "é"}
    assert record.error == "x"


def test_metadata_nested_deeply_is_read_back(store: LocalFileTraceStore) -> None:
    """The writer takes more levels than the quick reader; no record falls between the two."""
    store.write(make("deep", metadata={"deep": deep}))
    assert store.last()[0].metadata["deep"] == deep


def test_a_newer_record_keeps_what_is_known_of_it() -> None:
    """Fields and outcomes of a later schema, and a field that changed its type, make no record unreadable."""
    data = json.loads(make("new", usage=LLMUsage(total_tokens=3)).to_json())
    data |= {
        "schema": 2,
        "outcome": "partial",
        "shiny": {"x": 1},
        "status_code": "429",
        "stream": 1,
        "elapsed_ms": True,
    }
    data["usage"] |= {"audio_tokens": 5, "prompt_tokens": "3"}
    record = TraceRecord.from_json(json.dumps(data))
    assert record == replace(make("new"), schema=2, outcome="partial", usage=LLMUsage(total_tokens=3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"null", b"{", b"{}", b'{"request_id": 3}', b"\xff", b"[" * 100_000,
     make().to_json().replace(b'"attempt":0', b'"attempt":"0"'), make().to_json()[:-1], make().to_json() * 2],
)  # fmt: skip
def test_what_is_no_record_is_a_value_error(line: bytes) -> None:
    """Whatever stands on a line, reading it gives a record or ValueError."""
    with pytest.raises(ValueError):
        TraceRecord.from_json(line)


def test_an_id_is_found_on_any_line_however_the_lines_lie_in_the_file(store: LocalFileTraceStore) -> None:
    """Files are read in blocks: short lines and lines longer than a block, ids across the edges of blocks."""
    names = [f"call-{number:03}" for number in range(150)]
    for number, name in enumerate(names):
        size = 200_000 if number % 50 == 7 else 797 * number % 3001
        store.write(make(name, text="x" * size))
        store.write(make(name, 1))
    for name in names:
        assert ids(store.find(name)) == [(name, 0), (name, 1)]
        assert store.skipped == 0
    assert store.find("call-150") == []
    assert [name for name, attempt in ids(store.last(150)) if attempt == 0] == names


def test_an_id_is_found_where_two_blocks_of_a_file_meet(tmp_path: Path) -> None:
    """For every way the edge of a block can lie in a line's first bytes."""
    store = LocalFileTraceStore(tmp_path)
    line = make("the-call").to_json() + b"\n"
    other = make("another", text="y" * 70_000).to_json()
    for inside in range(120):
        after = other[: (1 << 16) - len(line) + inside - 1] + b"\n"
        (tmp_path / "20250101.jsonl").write_bytes(b'{"an older": "line"}\n' + line + after)
        assert ids(store.find("the-call")) == [("the-call", 0)], inside
        assert store.skipped == 0
