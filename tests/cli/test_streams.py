"""Standard streams that fail: a full disk, a reader that has gone, streams that are closed."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from lee_llm_router.cli.output import (
    OutputError,
    flush_output,
    let_go,
    prepare_streams,
    say,
    write_json,
    write_status,
    write_text,
)

FULL = OSError(errno.ENOSPC, "No space left on device")
GONE = BrokenPipeError(errno.EPIPE, "Broken pipe")


class _Device(io.RawIOBase):
    """A file that cannot be written; `error` says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error: OSError | None = error
        self.writes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.writes += 1
        if self.error is not None:
            raise self.error
        return len(data)  # type: ignore[arg-type]


def failing(error: OSError) -> tuple[_Device, io.TextIOWrapper]:
    device = _Device(error)
    return device, io.TextIOWrapper(io.BufferedWriter(device), encoding="utf-8")


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[OSError], None]]:
    """Let standard output fail, until the end of the test."""

    def broken(error: OSError) -> None:
        device, stream = failing(error)
        monkeypatch.setattr(sys, "stdout", stream)
        opened.append((device, stream))

    # They are kept: Python 3.13 tells of a stream that cannot be written when it is dropped.
    opened: list[tuple[_Device, io.TextIOWrapper]] = []
    yield broken
    for device, stream in opened:
        device.error = None
        stream.close()


@pytest.mark.parametrize("write", [lambda: write_text("a"), lambda: write_json({"a": 1})], ids=["text", "JSON"])
@pytest.mark.parametrize(
    ("error", "raised", "told"),
    [
        (FULL, OutputError, "standard output cannot be written: No space left on device"),
        (OSError(), OutputError, "standard output cannot be written: OSError"),
        (GONE, BrokenPipeError, "Broken pipe"),
    ],
)
def test_a_full_disk_is_told_and_a_reader_that_has_gone_is_known(
    write: Callable[[], None], error: OSError, raised: type[Exception], told: str, stdout: Callable[[OSError], None]
) -> None:
    stdout(error)
    with pytest.raises(raised, match=told):
        write()


def test_what_is_buffered_when_the_program_ends_fails_there_and_not_in_the_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be written is let go: it goes nowhere, and whoever flushes at the end is not told of it."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        stream.write("never read")
        let_go()
        flush_output()


def test_streams_without_a_file_are_let_go_too(
    stdout: Callable[[OSError], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout(FULL)
    sys.stdout.write("x")
    monkeypatch.setattr(sys, "stderr", None)
    let_go()


@pytest.mark.parametrize("write", [say, write_status])
def test_a_message_that_nobody_can_get_stops_nothing(
    write: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, stream = failing(FULL)
    monkeypatch.setattr(sys, "stderr", stream)
    write("a message")
    assert device.writes
    device.error = None


def test_closed_streams_are_replaced_so_that_no_file_takes_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file opened later would get the number of the stream, and what is printed would be written into it."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    kept = os.dup(0)
    try:
        os.close(0)
        assert prepare_streams()
        with open(os.devnull) as file:
            assert file.fileno() != 0
        assert os.path.samestat(os.fstat(0), os.stat(os.devnull))
        say("nobody reads this")
        sys.stderr.close()
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not prepare_streams()
