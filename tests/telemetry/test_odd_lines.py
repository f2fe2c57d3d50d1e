"""Whatever stands in a trace file, readers give what can be read of it, and no other error than none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.records import make
from helpers.screens import listing
from helpers.support import EPOCH
from lee_llm_router._util.ids import new_request_id
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.record_json import MAX_LINE
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

FIELDS = [name for name in TraceRecord.__dataclass_fields__ if name not in ("request_id", "role")]
NUMBERS = ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 400, "-" + "9" * 400, "1e308", "9" * 5000, "1e-400",
           "-1", "0.5"]  # fmt: skip
OTHERS = ['"x"', '"' + "y" * 60_000 + '"', "[]", "{}", "[[]]", '{"a": 1}', '[1, "a", null]', "true", "null",
          '"\\u001b[31m"', '"\\ud800"', "[" * 150 + "]" * 150]  # fmt: skip
USAGE = list(LLMUsage.__dataclass_fields__)


def odd_lines() -> Iterator[bytes]:
    """Yield well over 400 lines: each field with each odd value, then whole lines with bytes changed or cut."""
    plain = json.loads(make("odd", text="t", messages=({"role": "user"},), usage=LLMUsage(total_tokens=1)).to_json())
    for value in NUMBERS + OTHERS:
        for name in FIELDS:
            yield json.dumps({**plain, name: "@"}).replace('"@"', value).encode()
    for value in NUMBERS:
        for name in USAGE:
            yield json.dumps({**plain, "usage": {name: "@"}}).replace('"@"', value).encode()
    line, chance = make("odd", metadata={"a": ["é", {"b": None}]}).to_json(), random.Random(7)
    for _ in range(200):
        changed = bytearray(line)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(len(changed))] = chance.choice(b'\x00\xff{}[]",:\\9eE-\xed\xa0')
        yield bytes(changed[: chance.randrange(1, len(changed) + 1)])


ODD_LINES = list(odd_lines())


def lines_of(*lines: bytes) -> bytes:
    return b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)


def test_no_odd_line_breaks_a_reader_or_the_table(tmp_path: Path) -> None:
    """Each alone between two good records: both are read, and everything read can be shown and written again."""
    assert len(ODD_LINES) > 400
    good = [make("before"), make("after", at=EPOCH + 1)]
    file = tmp_path / "20270115.jsonl"
    store = LocalFileTraceStore(tmp_path)
    for line in ODD_LINES:
        file.write_bytes(lines_of(good[0].to_json(), line, good[1].to_json()))
        records = store.last(9)
        assert {"before", "after"} <= {record.request_id for record in records}, line
        assert store.find("after") == [good[1]], line
        assert len(records) + store.skipped >= 2
        assert listing(records, attempts=True)
        for record in records:
            assert TraceRecord.from_json(record.to_json()).request_id == record.request_id, line


def test_the_numbers_that_are_read_can_be_true() -> None:
    """Finite, and no more than 10**12; below zero only the exit code of a killed program."""
    for line in ODD_LINES:
        try:
            record = TraceRecord.from_json(line)
        except ValueError:
            continue
        numbers: list[Any] = [record.attempt, record.target_attempt, record.elapsed_ms, record.first_token_ms,
                              record.retry_after, record.wait_ms, record.cost_usd, record.request_bytes,
                              record.response_chars, record.schema]  # fmt: skip
        numbers += [getattr(record.usage, name) for name in USAGE] if record.usage else []
        assert all(number is None or 0 <= number <= 10**12 for number in numbers), line
        assert record.status_code is None or abs(record.status_code) <= 10**12


def _deep() -> bytes:
    return b'{"schema":1,"request_id":"deep","metadata":{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}}"


BAD_FILES: dict[str, Callable[[], bytes]] = {
    "nul bytes": lambda: b"\x00" * 500_000,
    "nul bytes and a newline": lambda: b"\x00" * 100_000 + b"\n",
    "no newline at all": lambda: b"x" * 200_000,
    "half a record": lambda: make("half").to_json()[:90],
    "invalid UTF-8": lambda: b"\xff\xfe\n\xc3\x28\n\xed\xa0\x80\n",
    "UTF-16": lambda: make("wide").to_json().decode().encode("utf-16"),
    "a byte order mark": lambda: b"\xef\xbb\xbf" + make("marked").to_json(),
    "carriage returns": lambda: make("cr").to_json() + b"\r\n" + make("cr", 1).to_json() + b"\r\n",
    "deep JSON": _deep,
    "deep JSON in many lines": lambda: (b"[" * 5_000 + b"\n") * 100,
    "blank lines": lambda: b"\n" * 100_000,
    "one id in very many records": lambda: lines_of(make("many").to_json()) * 20_000,
    "one start of a record after the other": lambda: b'{"schema":' * 400_000,
    "half records glued together": lambda: make("glued").to_json()[:60] * 20_000,
    "a line longer than a record can be": lambda: b'{"a":"' + b"z" * 30_000_000 + b'"}',
    "a record longer than a record can be": lambda: make("huge", text="z" * 30_000_000).to_json()[:9_000_000],
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_hides_no_other_and_is_not_held_in_memory(tmp_path: Path, kind: str) -> None:
    """The good record of another day, and one written behind the bad bytes, are found; memory stays bounded."""
    (tmp_path / "20250101.jsonl").write_bytes(lines_of(make("old").to_json()))
    (tmp_path / "20270115.jsonl").write_bytes(BAD_FILES[kind]() + b"\n" + lines_of(make("new").to_json()))
    store = LocalFileTraceStore(tmp_path)
    tracemalloc.start()
    records = store.last(9)
    found = store.find("old") + store.find("new")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {"old", "new"} <= {record.request_id for record in records}
    assert [record.request_id for record in found] == ["old", "new"]
    assert peak < 6 * MAX_LINE


def test_a_line_with_many_starts_is_tried_a_few_times_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line that looks like many cut records costs no more than a long line: it is parsed at most 16 times."""
    tried: list[int] = []
    real = TraceRecord.from_json

    def counted(line: bytes) -> TraceRecord:
        tried.append(len(line))
        return real(line)

    monkeypatch.setattr(TraceRecord, "from_json", counted)
    (tmp_path / "20270115.jsonl").write_bytes(b'{"schema":1,' * 50_000)
    assert LocalFileTraceStore(tmp_path).last() == []
    assert len(tried) <= 16


def test_an_id_that_lies_about_its_time_does_not_make_last_read_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call dated to 1970 by its id alone is taken to be as old as its attempt says."""
    lines = [make(new_request_id(EPOCH + n), at=EPOCH + n, metadata={"f": "x" * 20_000}).to_json() for n in range(300)]
    lines.append(make(new_request_id(1), at=EPOCH + 10_000).to_json())
    (tmp_path / "20270115.jsonl").write_bytes(lines_of(*lines))
    read: list[int] = []
    real = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        read.append(size)
        return real(fd, size, at)

    monkeypatch.setattr(os, "pread", counted)
    assert len(LocalFileTraceStore(tmp_path).last(1)) == 1
    assert sum(read) < 1_000_000


@pytest.mark.parametrize("call", ["ffffffff-ffff-7fff-bfff-ffffffffffff", "00000000-0000-7000-8000-000000000000", ""])
def test_any_id_can_be_looked_for(tmp_path: Path, call: str) -> None:
    """Also one whose time is in no calendar."""
    store = LocalFileTraceStore(tmp_path)
    store.write(make("a"))
    store.close()
    assert store.find(call) == []


# --- what the store writes ---


class _Wide:
    number = 10**700


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": 10**5000}, {"a": -(10**4301)}, {"a": [1, {"b": (10**9999,)}]}, {10**5000: "key"}, {"a": {10**641: 1}},
        {"a": LLMUsage(total_tokens=10**800)}, lambda: {"a": "x" * 30_000_000}, lambda: {"a": ["\x00" * 1000] * 9000},
        lambda: {"a": {str(n): n for n in range(2_000_000)}}, lambda: {"a": [[]] * 3_000_000},
        lambda: {"a": b"z" * 10_000_000}, {"a": True, "b": 10**700, "c": _Wide()},
    ],
    ids=range(12),
)  # fmt: skip
def test_every_line_that_is_written_can_be_read(tmp_path: Path, metadata: Any) -> None:
    """By this library and by a reader of plain JSON: numbers and lines have a bound; the rest of the record stays."""
    store = LocalFileTraceStore(tmp_path)
    metadata = metadata() if callable(metadata) else metadata
    store.write(make("odd", metadata=metadata, error="kept", usage=LLMUsage(total_tokens=3)))
    store.write(make("after"))
    store.close()
    records = store.last(9)
    assert [record.request_id for record in records] == ["odd", "after"] and store.skipped == 0
    assert (records[0].error, records[0].usage) == ("kept", LLMUsage(total_tokens=3))
    assert records[0].metadata
    for line in next(tmp_path.glob("*.jsonl")).read_bytes().splitlines():
        assert len(line) <= MAX_LINE
        json.loads(line)


@pytest.mark.parametrize("before", range(0, 200, 7))
def test_a_number_of_too_many_digits_is_found_wherever_it_stands_on_the_line(before: int) -> None:
    for size in (700, -700):
        metadata = {"a": "x" * before, "b": size // 700 * 10 ** abs(size), "c": "y" * 900}
        read = json.loads(make(metadata=metadata).to_json())["metadata"]
        assert isinstance(read["b"], str) and read["a"] == metadata["a"]


class _Walked(dict[str, Any]):
    """Counts how often somebody goes through it."""

    walks = 0

    def values(self) -> Any:
        self.walks += 1
        return super().values()


@pytest.mark.parametrize("size", [10, 1000, 100_000])
def test_a_record_is_gone_through_only_where_many_digits_stand_together(size: int) -> None:
    """That takes 20 times as long as writing it, so that a record with a little more metadata was so much dearer."""
    plain, digits = _Walked(note="x 2027 " * size), _Walked(note="7" * 5000)
    for metadata in (plain, digits):
        assert TraceRecord.from_json(make(metadata=metadata).to_json()).metadata == metadata
    assert plain.walks == 0 and digits.walks > 0


def test_a_number_of_many_digits_stays_a_number_where_it_can_be_read() -> None:
    record = make(metadata={"a": 10**590, "b": -(2**80)})
    assert TraceRecord.from_json(record.to_json()).metadata == record.metadata


def test_a_record_that_is_too_long_keeps_the_beginning_of_its_long_fields() -> None:
    """Prompts and answers of many megabytes: the line is readable, and says who was asked and what it cost."""
    messages = tuple({"role": "user", "content": "m" * 1_000_000} for _ in range(20))
    record = make("long", messages=messages, text="é" * 5_000_000, reasoning="\x01" * 5_000_000, model="m",
                  usage=LLMUsage(total_tokens=9))  # fmt: skip
    line = record.to_json()
    assert len(line) <= MAX_LINE
    read = TraceRecord.from_json(line)
    assert (read.model, read.usage, read.request_id) == ("m", LLMUsage(total_tokens=9), "long")
    assert (read.text or "").startswith("é" * 100_000) and (read.reasoning or "").startswith("\x01" * 100_000)
    assert read.messages and read.messages[0]["content"].startswith("m" * 100_000)


def test_the_command_shows_what_is_left_of_an_odd_folder(tmp_path: Path) -> None:
    """All odd lines in one file, beside a pipe, a folder and a link: exit code 0, and the good calls are shown."""
    os.mkfifo(tmp_path / "20270117.jsonl")
    (tmp_path / "20270116.jsonl").mkdir()
    (tmp_path / "20270114.jsonl").symlink_to("/etc/passwd")
    (tmp_path / "20270115.jsonl").write_bytes(lines_of(*ODD_LINES, make("good-one", at=EPOCH + 9).to_json()))
    for more in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "lee_llm_router", "trace", "--dir", str(tmp_path), *more],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert b"good-one" in done.stdout
        assert b"root:" not in done.stdout and b"\x1b" not in done.stdout
