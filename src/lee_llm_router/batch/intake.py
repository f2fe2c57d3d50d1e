"""Hands out the rows to process: each once, and only if it has no outcome yet."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from os import PathLike, fspath
from pathlib import Path
from typing import Protocol

from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router.batch.answers import broken_outcome
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.ledger import ANSWERED, WAITING, LedgerRow, SeenRow, key_of_broken
from lee_llm_router.batch.output import BatchOutput
from lee_llm_router.batch.row_files import FoundRow, RowFile, format_of
from lee_llm_router.batch.rows import BatchRow, BrokenRow, RowForm, RowValue, key_of
from lee_llm_router.batch.settings import BatchSettings, Rows
from lee_llm_router.batch.template import PromptTemplate
from lee_llm_router.errors import ConfigError

_ROWS_AT_ONCE = 256
_LONGEST_STAY = 0.005
"""Seconds that an iterable may block the event loop before calls go on."""


class RowSource(Protocol):
    """A source of rows."""

    @property
    def name(self) -> str | None:
        """The name of the input, which distinguishes it from others; None if it has none."""

    @property
    def total(self) -> int | None:
        """The total number of rows, if known."""

    @property
    def share_read(self) -> float | None:
        """The share read so far, from 0 to 1, if known."""

    def rows_at_once(self) -> list[FoundRow] | None:
        """Return the next rows without waiting, an empty list at the end; None if the caller has to wait for them."""

    async def next_rows(self) -> list[FoundRow]:
        """Wait for the next rows, after `rows_at_once` has returned None; an empty list is the end."""

    def close(self) -> None:
        """Release its resources."""


class _FileSource:
    """Rows of a file."""

    total = None

    def __init__(self, file: RowFile) -> None:
        self._file = file
        self.name = file.name

    @property
    def share_read(self) -> float | None:
        return self._file.share_read

    def rows_at_once(self) -> list[FoundRow] | None:
        # A thread would cost 6 us per row: both are never idle, and compete for the interpreter.
        return None if self._file.may_wait else self._file.next_rows()

    async def next_rows(self) -> list[FoundRow]:
        return await call_in_thread_async(self._file.next_rows)

    def close(self) -> None:
        self._file.close()


class _IterableSource:
    """Rows of a caller's iterable, taken in the thread of the batch."""

    name = share_read = None

    def __init__(self, values: Iterable[RowValue], form: RowForm) -> None:
        self.total = len(values) if isinstance(values, Sized) else None
        self._values: Iterator[RowValue] = iter(values)
        self._form = form
        self._number = 0
        self._failure: Exception | None = None

    async def next_rows(self) -> list[FoundRow]:
        return []

    def rows_at_once(self) -> list[FoundRow]:
        if self._failure is not None:
            raise self._failure
        rows: list[FoundRow] = []
        until = time.monotonic() + _LONGEST_STAY
        try:
            for value in self._values:
                self._number += 1
                rows.append(self._form.row(value, self._number))
                if len(rows) >= _ROWS_AT_ONCE or time.monotonic() > until:
                    break
        except Exception as error:
            # The rows it gave before are processed first.
            self._failure = error
            if not rows:
                raise
        return rows

    def close(self) -> None:
        """Do nothing: the iterable is the caller's."""


class _AsyncSource:
    """Rows of an async iterable, one by one: nobody waits for a later row."""

    name = total = share_read = None

    def __init__(self, values: AsyncIterable[RowValue], form: RowForm) -> None:
        self._values: AsyncIterator[RowValue] = aiter(values)
        self._form = form
        self._number = 0

    def rows_at_once(self) -> None:
        return None

    async def next_rows(self) -> list[FoundRow]:
        async for value in self._values:
            self._number += 1
            return [self._form.row(value, self._number)]
        return []

    def close(self) -> None:
        """Do nothing: the iterable is the caller's."""


def source_of(rows: Rows, settings: BatchSettings) -> RowSource:
    """Return the source of the rows of a batch.

    Raises:
        ConfigError: the file cannot be read, the template is invalid, or `rows` is not a source of rows.
    """
    template = None if settings.template is None else PromptTemplate(settings.template)
    form = RowForm(template, settings.system)
    if isinstance(rows, str | PathLike):
        path = Path(fspath(rows))
        return _FileSource(RowFile(path, form, template, format_of(path, settings.row_format)))
    if isinstance(rows, AsyncIterable):
        return _AsyncSource(rows, form)
    if isinstance(rows, Mapping | bytes | bytearray) or not isinstance(rows, Iterable | Sequence):
        kind = type(rows).__name__
        raise ConfigError(f"rows must be the path of a file or an iterable of values, not a {kind}", sent=False)
    return _IterableSource(rows, form)


class Intake:
    """Reads rows, and hands out those to process.

    Args:
        source: The source of rows.
        output: The files of the batch, whose ledger knows which rows have outcomes.
        settings: Whether to try failed rows again, and to accept another input.
        figures: Counts the rows read.
        stopped: Set once no further rows are to be processed.
        failed: Called after broken rows were written to the errors file.
    """

    def __init__(
        self,
        source: RowSource,
        output: BatchOutput,
        settings: BatchSettings,
        figures: BatchReport,
        *,
        stopped: asyncio.Event,
        failed: Callable[[], object],
    ) -> None:
        self._source, self._output, self._settings, self._figures = source, output, settings, figures
        self._stopped, self._failed = stopped, failed
        self._ready: deque[BatchRow] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._place = 0
        self.failure: Exception | None = None
        """What has ended the reading: the input cannot be read, is another one, or the ledger cannot be written."""
        self.is_at_end = False
        """Whether all rows have been read and handed out."""

    def ready_row(self) -> BatchRow | None:
        """Return the next row, if there is one without waiting and without reading further."""
        return self._ready.popleft() if self._ready and not self._stopped.is_set() else None

    async def next_row(self) -> BatchRow | None:
        """Return the next row; None at the end, once the batch is stopped, or if reading has failed.

        Any number of tasks may wait for one.
        """
        ready = self._ready
        while not self._stopped.is_set():
            if ready:
                return ready.popleft()
            if self.is_at_end or self.failure is not None:
                return None
            if self._reading is not None or not self._read_at_once():
                await self._something_read()
            elif not ready:
                # Millions of rows may have been answered in an earlier run: other tasks want to run meanwhile.
                await asyncio.sleep(0)
        return None

    def _read_at_once(self) -> bool:
        """Read the next rows, if that is possible without waiting; return whether it was."""
        try:
            found = self._source.rows_at_once()
            if found is not None:
                self._accept(found)
        except Exception as error:  # noqa: BLE001 - raised at the end, since rows in flight are worth waiting for
            self.failure = error
            return True
        return found is not None

    async def _something_read(self) -> None:
        """Wait until rows have been read, or the batch is stopped. Reading goes on if the caller is cancelled."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((self._reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._source.close()

    async def _read(self) -> None:
        try:
            self._accept(await self._source.next_rows())
        except Exception as error:  # noqa: BLE001 - as above
            self.failure = error
        finally:
            self._reading = None

    def _accept(self, found: Sequence[FoundRow]) -> None:
        self._figures.share_read = self._source.share_read
        with self._output.failing():
            self._take(found)
        self.is_at_end = not found

    def _take(self, found: Sequence[FoundRow]) -> None:
        """Keep those of the rows read that are to be processed, and write the broken ones to the errors file."""
        output = self._output
        known, rows, counts = self._told_apart(found)
        expected: list[SeenRow] = []
        seen: list[SeenRow] = []
        ready: list[BatchRow] = []
        broken: list[tuple[bytes, BrokenRow]] = []
        for place, (key, row) in enumerate(rows, self._place):
            is_wanted = not known or (entry := known.get(key)) is None or self._is_wanted(row, entry)
            asked = None
            if isinstance(row, BatchRow):
                asked = row.digest if row.has_own_id else None
                if is_wanted:
                    ready.append(row)
            elif is_wanted:
                broken.append((key, row))
            (expected if is_wanted else seen).append((key, counts.pop(key, 1), place, asked, is_wanted))
        seen += output.recount(counts)
        output.expect(expected)
        self._ready.extend(ready)
        self._place += len(rows)
        self._figures.rows += len(rows)
        if seen:
            output.ledger.see(seen)
        for key, broken_row in broken:
            outcome = broken_outcome(broken_row)
            output.put(key, outcome)
            self._figures.count(outcome)
        if broken:
            self._failed()

    def _told_apart(
        self, found: Sequence[FoundRow]
    ) -> tuple[dict[bytes, LedgerRow], list[tuple[bytes, FoundRow]], dict[bytes, int]]:
        """Give equal rows ids of their own.

        Returns:
            The ledger's entries, the rows with their keys, and the counts of repeated rows so far.
        """
        ledger = self._output.ledger
        keys = [_key(row) for row in found]
        known = ledger.known(keys)
        if not known and len(set(keys)) == len(keys) and not self._output.expected(keys):
            return known, list(zip(keys, found, strict=True)), {}
        times = {key: entry.times for key, entry in known.items() if entry.run == ledger.run}
        times.update(self._output.expected(keys))
        rows: list[tuple[bytes, FoundRow]] = []
        repeated: dict[bytes, int] = {}
        new_keys: list[bytes] = []
        for key, row in zip(keys, found, strict=True):
            count = times[key] = times.get(key, 0) + 1
            if count == 1 or isinstance(row, BrokenRow):
                rows.append((key, row))
                continue
            if row.has_own_id:
                other: FoundRow = BrokenRow(line=row.line, reason="its id is the same as an earlier row's", id=row.id)
            else:
                other, repeated[key] = row.repeated(count), count
            rows.append((_key(other), other))
            new_keys.append(rows[-1][0])
        if new_keys:
            known.update(ledger.known(new_keys))
        return known, rows, repeated

    def _is_wanted(self, row: FoundRow, entry: LedgerRow) -> bool:
        """Whether to process a row that the ledger knows, or to report it if it is broken.

        Raises:
            ConfigError: its id belongs to the answer of another request.
        """
        if entry.state == WAITING:
            return True
        has_changed = (
            isinstance(row, BatchRow) and row.has_own_id and entry.asked is not None and entry.asked != row.digest
        )
        if entry.state == ANSWERED:
            if has_changed and not self._settings.append:
                raise ConfigError(
                    f"the row at line {row.line} has the id {row.id!r:.80}, and the output holds the answer to another"
                    " row with that id: give another output, or say `append` to go on all the same",
                    sent=False,
                )
            self._figures.already_answered += 1
            return False
        if has_changed or self._settings.retry_errors:
            return True
        self._figures.already_failed += 1
        return False


def _key(row: FoundRow) -> bytes:
    return (row.key or key_of(row.id)) if isinstance(row, BatchRow) else key_of_broken(row.line)
