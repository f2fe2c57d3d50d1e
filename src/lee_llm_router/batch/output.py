"""The files of a batch: answers, failures, and the ledger that knows of both. One line a row, whatever is killed when.

A row's outcome is one line, appended by one write, and the ledger is told of it later. So the files are the truth: at
the start, lines that the ledger was not told of are read again, and half a line at the end is removed. A file that is
not the one that the ledger was told of (edited, replaced, of another machine) is read from its beginning.
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
"""How each line begins."""
_MOST_OPEN = 10_000
_TAKEN = "another batch is writing it"


class OutputFailedError(Exception):
    """A file of the batch cannot be written. Its text says which, and why."""


class BatchOutput:
    """The files of one batch, for as long as it runs. Nobody else can write them meanwhile.

    Args:
        answers: Path of the output; made if there is none.
        failures: Path of the errors file; made when the first row fails.
        ledger: Path of the ledger.

    Raises:
        ConfigError: another batch writes them, they cannot be opened, or they hold something else.
    """

    def __init__(self, answers: Path, failures: Path, ledger: Path) -> None:
        self._answers_path, self._failures_path = answers, failures
        self._failures: LineFile | None = None
        self._open: dict[bytes, SeenRow] = {}
        """Rows that wait for their outcome, and that the ledger was not told of: as many as an engine has in hand."""
        with ExitStack() as undo:
            try:
                LineFile(answers).close()  # makes it, and says if it can be none
                self._lock = FileLock(answers)
                undo.callback(self._lock.close)
                self._answers = LineFile(answers)
                undo.callback(self._answers.close)
                # Another batch that puts it in order may have replaced it since it was opened.
                if self._lock.is_held_by_another or not self._lock.is_at(answers):
                    raise OSError(0, _TAKEN)
                # Not before: it may be that of the batch that has the lock.
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
        """Tell the ledger what it does not know of the files."""
        for one in (self._answers, self._failures):
            if one is not None:
                one.temporary().unlink(missing_ok=True)
        answers_from, failures_from = self._told("answers", self._answers), self._told("failures", self._failures)
        if answers_from is None or failures_from is None:
            self.ledger.forget_rows()
            answers_from = failures_from = 0
        # Failures first: a row that has an answer too was asked again.
        for file, start, is_answer in ((self._failures, failures_from, False), (self._answers, answers_from, True)):
            if file is not None:
                self._read_again(file, start, is_answer=is_answer)
                self._mend_end(file, start, is_answer=is_answer)
        self.ledger.tell()

    def _mend_end(self, file: LineFile, start: int, *, is_answer: bool) -> None:
        """End the last line, if it lacks its newline alone; remove it, if its writer was killed in the middle.

        Raises:
            ValueError: it is none that a batch can have written.
        """
        at, line = file.unended(start)
        if not line:
            return
        try:
            json.loads(line)
        except ValueError:
            # The file may be somebody's own, given by mistake: nothing of that is removed.
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
        """Return the byte up to which the ledger was told of a file; None if that was another file."""
        told = self.ledger.fact(name) or 0
        if file is None:
            return None if told else 0
        if told > file.size or (told and file.mark(told) != self.ledger.fact(f"{name} mark")):
            return None
        return int(told)

    def _marks(self) -> dict[str, Any]:
        """Return up to where the files are written, for the ledger."""
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
        """Say that rows were read that have no outcome. The ledger is told of them together with that, if it comes
        soon.

        Raises:
            OutputFailedError: the ledger cannot be written.
        """
        room = max(0, _MOST_OPEN - len(self._open))
        self._open.update({seen[0]: seen for seen in rows[:room]})
        if len(rows) > room:
            with self.failing():
                self.ledger.see(rows[room:])

    def expected(self, keys: Iterable[bytes]) -> dict[bytes, int]:
        """Return how many equal rows were read of those of `keys` that the ledger was not told of."""
        return {key: self._open[key][1] for key in self._open.keys() & keys}

    def recount(self, counts: Mapping[bytes, int]) -> list[SeenRow]:
        """Take how many equal rows were read by now, by key; return what the ledger has to be told of that."""
        told: list[SeenRow] = []
        for key, count in counts.items():
            if key in self._open:
                self._open[key] = (key, count, *self._open[key][2:])
            else:
                told.append((key, count, None, None, False))
        return told

    def put(self, key: bytes, outcome: RowOutcome) -> bool:
        """Write how the row with `key` has ended, and return True; False if it had ended before: nothing is written.

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
        """Raise `OutputFailedError` for what the ledger raises within."""
        try:
            yield
        except sqlite3.Error as error:
            raise OutputFailedError(f"{self.ledger.path} cannot be written: {_reason(error)}") from error

    def tidy_failures(self) -> None:
        """Remove from the errors file what is no longer so: rows that were answered or have failed again since.

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
            # A broken row is known by its line alone: one that this run has not met there was mended, or has moved.
            if self.ledger.state(key) == at + 1 and not (is_broken and not self.ledger.was_read(key)):
                yield line + b"\n"

    def put_in_order(self, is_cancelled: Callable[[], bool]) -> None:
        """Put the answers into the order in which this run has read the rows; answers of other rows come first.

        Args:
            is_cancelled: Is asked now and then; if true, the output stays as it is.

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
            # Whoever has locked the new file meanwhile finds the ledger locked.
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
        """Tell the ledger everything, and let others have the files.

        Raises:
            OutputFailedError: the ledger cannot be written. It is told at the next start.
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
    """Putting the output in order was given up."""


def _key_in(line: bytes, at: int, path: Path, *, is_answer: bool) -> tuple[bytes, bool]:
    """Return the key of the row that a line of a file is about, and whether that row is a broken one.

    Raises:
        ValueError: it is no line of a batch.
    """
    own: Any = None
    try:
        fields = json.loads(line)
        # Which the files of a batch have in every line, and hardly any other file has.
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
    return f"what {path.name} holds at byte {at} is no {'answer' if is_answer else 'failure'} of a batch"


def _reason(error: Exception) -> str:
    """Return in a few words what went wrong with a file."""
    if (missing := lacking(error)) is not None:
        return f"there is no more {missing.removesuffix(' (of this process: see `ulimit -n`)')}"
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _TAKEN
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
