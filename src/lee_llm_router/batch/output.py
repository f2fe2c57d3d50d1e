"""The files of a batch: answers, failures, and their ledger. One line per row, whatever is killed and when.

A row's outcome is one line, appended in one write; the ledger learns of it later. So the files are authoritative: at
the start, lines that the ledger does not cover are read again, and half a line at the end is removed. A file other than
the one the ledger knows (edited, replaced, from another machine) is read from its beginning.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.shortage import lacking
from lee_llm_router.batch.answers import BROKEN_ROW, RowOutcome
from lee_llm_router.batch.ledger import ANSWERED, WAITING, BatchLedger, SeenRow, key_of_broken
from lee_llm_router.batch.line_file import LineFile
from lee_llm_router.batch.rows import key_of
from lee_llm_router.errors import ConfigError

_BEGINNING = b'{"id":'
"""The beginning of each line."""
_MOST_OPEN = 10_000
_TAKEN = "another batch is writing it"


class OutputFailedError(Exception):
    """A file of the batch cannot be written. The text says which, and why."""


class BatchOutput:
    """The files of one batch, while it runs. Nobody else can write them meanwhile.

    Args:
        answers: Path of the output; created if missing.
        failures: Path of the errors file; created when the first row fails.
        ledger: Path of the ledger.

    Raises:
        ConfigError: another batch writes them, they cannot be opened, or they hold something else.
    """

    def __init__(self, answers: Path, failures: Path, ledger: Path) -> None:
        self._answers_path, self._failures_path = answers, failures
        self._failures: LineFile | None = None
        self._open: dict[bytes, SeenRow] = {}
        """Rows that wait for their outcome and are not in the ledger yet: as many as an engine holds."""
        with ExitStack() as undo:
            try:
                LineFile(answers).close()  # creates it, and raises if it cannot exist
                self._lock = FileLock(answers)
                undo.callback(self._lock.close)
                self._answers = LineFile(answers)
                undo.callback(self._answers.close)
                # Another batch that puts it in order may have replaced it since it was opened.
                if self._lock.is_held_by_another or not self._lock.is_at(answers):
                    raise OSError(0, _TAKEN)
                # Not earlier: the ledger may belong to the batch that holds the lock.
                if not ledger.exists():
                    undo.callback(ledger.unlink, missing_ok=True)
                if failures.exists():
                    self._failures = LineFile(failures)
                    undo.callback(self._failures.close)
                self.ledger = BatchLedger(ledger, self._marks)
                undo.callback(self.ledger.close)
                self._tell_ledger()
                self.ledger.expect_rows()
            except (OSError, sqlite3.Error, ValueError) as error:
                raise ConfigError(f"{answers}: cannot be used: {_reason(error)}", sent=False) from error
            undo.pop_all()

    def _tell_ledger(self) -> None:
        """Add to the ledger everything in the files that it is missing."""
        for one in (self._answers, self._failures):
            if one is not None:
                one.temporary().unlink(missing_ok=True)
        answers_from, failures_from = self._told("answers", self._answers), self._told("failures", self._failures)
        if answers_from is None or failures_from is None:
            self.ledger.forget_rows()
            answers_from = failures_from = 0
        # Failures first: a row that has an answer as well was tried again.
        for file, start, is_answer in ((self._failures, failures_from, False), (self._answers, answers_from, True)):
            if file is not None:
                self._read_again(file, start, is_answer=is_answer)
                self._mend_end(file, start, is_answer=is_answer)
        self.ledger.tell()

    def _mend_end(self, file: LineFile, start: int, *, is_answer: bool) -> None:
        """Complete the last line if it only lacks its newline; remove it if its writer was killed in the middle.

        Raises:
            ValueError: no batch can have written it.
        """
        at, line = file.unended(start)
        if not line:
            return
        try:
            json.loads(line)
        except ValueError:
            # The file may be the user's own, passed by mistake: never remove anything from that.
            if not _BEGINNING.startswith(line[: len(_BEGINNING)]) or (at == 0 and self.ledger.fact("batch") is None):
                raise ValueError(_no_line(file.path, at, is_answer=is_answer)) from None
            file.cut(at)
            return
        key, _ = _key_in(line, at, file.path, is_answer=is_answer)
        file.append(b"\n")
        self.ledger.end(key, ANSWERED if is_answer else at + 1)

    def _read_again(self, file: LineFile, start: int, *, is_answer: bool) -> None:
        for at, line in file.lines(start):
            self.ledger.end(_key_in(line, at, file.path, is_answer=is_answer)[0], ANSWERED if is_answer else at + 1)

    def _told(self, name: str, file: LineFile | None) -> int | None:
        """Return how many bytes of a file the ledger covers; None if it covers another file."""
        told = self.ledger.fact(name) or 0
        if file is None:
            return None if told else 0
        if told > file.size or (told and file.mark(told) != self.ledger.fact(f"{name} mark")):
            return None
        return int(told)

    def _marks(self) -> dict[str, Any]:
        """Return how far the files are written, for the ledger."""
        facts: dict[str, Any] = {}
        for name, file in (("answers", self._answers), ("failures", self._failures)):
            size = 0 if file is None else file.size
            facts[name] = size
            facts[f"{name} mark"] = b"" if file is None else file.mark(size)
        return facts

    @property
    def is_empty(self) -> bool:
        """Whether no row has ended yet."""
        return self._answers.size == 0 and (self._failures is None or self._failures.size == 0)

    def expect(self, rows: Sequence[SeenRow]) -> None:
        """Record rows that were read and have no outcome. The ledger receives them together with their outcomes, if
        these come soon.

        Raises:
            OutputFailedError: the ledger cannot be written.
        """
        room = max(0, _MOST_OPEN - len(self._open))
        self._open.update({seen[0]: seen for seen in rows[:room]})
        if len(rows) > room:
            with self.failing():
                self.ledger.see(rows[room:])

    def expected(self, keys: Iterable[bytes]) -> dict[bytes, int]:
        """Return the numbers of equal rows read, for those of `keys` that are not in the ledger yet."""
        return {key: self._open[key][1] for key in self._open.keys() & keys}

    def recount(self, counts: Mapping[bytes, int]) -> list[SeenRow]:
        """Update the numbers of equal rows read, by key; return the rows whose number the ledger has to record."""
        told: list[SeenRow] = []
        for key, count in counts.items():
            if key in self._open:
                self._open[key] = (key, count, *self._open[key][2:])
            else:
                told.append((key, count, None, None, False))
        return told

    def put(self, key: bytes, outcome: RowOutcome) -> bool:
        """Write the outcome of the row with `key`, and return True; False if it already had one: nothing is written.

        Raises:
            OutputFailedError: it cannot be written; then nothing of it is.
        """
        try:
            seen = self._open.get(key)
            if seen is None and self.ledger.state(key) != WAITING:
                return False
            if outcome.is_answer:
                self._answers.write(outcome.line())
                self.ledger.end(key, ANSWERED, seen)
            else:
                if self._failures is None:
                    self._failures = LineFile(self._failures_path)
                self.ledger.end(key, self._failures.append(outcome.line()) + 1, seen)
            if seen is not None:
                del self._open[key]
            self.ledger.tell_if_many()
        except (OSError, sqlite3.Error) as error:
            path = self._answers_path if outcome.is_answer else self._failures_path
            raise OutputFailedError(f"{path} or its ledger cannot be written: {_reason(error)}") from error
        return True

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Raise exceptions of the ledger as `OutputFailedError`."""
        try:
            yield
        except sqlite3.Error as error:
            raise OutputFailedError(f"{self.ledger.path} cannot be written: {_reason(error)}") from error

    def tidy_failures(self) -> None:
        """Remove outdated lines from the errors file: rows that were answered or have failed again since.

        Raises:
            OutputFailedError: it cannot be written; then it is as before.
        """
        old = self._failures
        if old is None:
            return
        try:
            self.ledger.tell()
            kept = [True for _ in self._kept_failures(old)]
            if len(kept) < sum(1 for _ in old.lines()):
                self._failures = old.replaced(self._kept_failures(old)) if kept else None
                if not kept:
                    self._failures_path.unlink()
                old.close()
                self.ledger.forget_failures()
                if self._failures is not None:
                    self._read_again(self._failures, 0, is_answer=False)
                self.ledger.tell()
        except (OSError, sqlite3.Error) as error:
            raise OutputFailedError(f"{self._failures_path} cannot be put in order: {_reason(error)}") from error

    def _kept_failures(self, file: LineFile) -> Iterator[bytes]:
        for at, line in file.lines():
            key, is_broken = _key_in(line, at, file.path, is_answer=False)
            # A broken row is known only by its line: if this run has not found it there, it was fixed or has moved.
            if self.ledger.state(key) == at + 1 and not (is_broken and not self.ledger.was_read(key)):
                yield line + b"\n"

    def put_in_order(self, is_cancelled: Callable[[], bool]) -> None:
        """Sort the answers into the order in which this run has read the rows; answers of other rows come first.

        Args:
            is_cancelled: Called from time to time; if true, the output stays unchanged.

        Raises:
            OutputFailedError: it cannot be written; then it is as before.
        """
        old = self._answers
        try:
            self.ledger.tell()
            if self._is_in_order(old):
                return
            places = (
                (self.ledger.place(_key_in(line, at, old.path, is_answer=True)[0]), at, len(line) + 1)
                for at, line in old.lines()
            )
            self._answers = old.replaced(self._sorted(places, is_cancelled))
            self.ledger.tell()
            old.close()
            # A process that has locked the new file meanwhile finds the ledger locked.
            self._lock.close()
            self._lock = FileLock(self._answers_path)
        except _CancelledError:
            return
        except (OSError, sqlite3.Error) as error:
            raise OutputFailedError(f"{self._answers_path} cannot be put in order: {_reason(error)}") from error

    def _is_in_order(self, file: LineFile) -> bool:
        before = -1
        for at, line in file.lines():
            place = self.ledger.place(_key_in(line, at, file.path, is_answer=True)[0])
            if place < before:
                return False
            before = place
        return True

    def _sorted(self, places: Iterator[tuple[int, int, int]], is_cancelled: Callable[[], bool]) -> Iterator[bytes]:
        for start, length in self.ledger.in_order(places):
            if is_cancelled():
                raise _CancelledError
            yield self._answers.read(start, length)

    def close(self) -> None:
        """Bring the ledger up to date, and release the files.

        Raises:
            OutputFailedError: the ledger cannot be written. The next start brings it up to date.
        """
        try:
            self.ledger.tell()
        except (OSError, sqlite3.Error) as error:
            raise OutputFailedError(f"{self.ledger.path} cannot be written: {_reason(error)}") from error
        finally:
            self.ledger.close()
            self._answers.close()
            if self._failures is not None:
                self._failures.close()
            self._lock.close()


class _CancelledError(Exception):
    """Sorting the output was given up."""


def _key_in(line: bytes, at: int, path: Path, *, is_answer: bool) -> tuple[bytes, bool]:
    """Return the key of the row on a line of a file, and whether that row is a broken one.

    Raises:
        ValueError: it is not a line of a batch.
    """
    own: Any = None
    try:
        fields = json.loads(line)
        # Every line of a batch has these fields, and hardly any other file does.
        own, _, _ = fields["id"], fields["request_id"], fields["text"]
        is_failure = "error" in fields
        if is_failure and fields["error"] == BROKEN_ROW and not is_answer:
            return key_of_broken(int(fields["line"])), True
    except (ValueError, TypeError, KeyError, RecursionError):
        is_failure = is_answer
    if not isinstance(own, str) or is_failure is is_answer:
        raise ValueError(_no_line(path, at, is_answer=is_answer))
    return key_of(own), False


def _no_line(path: Path, at: int, *, is_answer: bool) -> str:
    return f"what {path.name} holds at byte {at} is not {'an answer' if is_answer else 'a failure'} of a batch"


def _reason(error: Exception) -> str:
    """Describe in a few words what went wrong with a file."""
    if (missing := lacking(error)) is not None:
        return f"there is no more {missing.removesuffix(' (of this process: see `ulimit -n`)')}"
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _TAKEN
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
