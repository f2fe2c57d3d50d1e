"""The batches at the vendor and their rows, on disk next to the output.

It records a batch before the batch is sent, and its id afterwards. A row is in it from before it is sent until its
outcome is in the output. It holds hashes of ids but no rows; and results whose row has not been read again yet.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.vendor.api import BatchResult, Submission
from lee_llm_router.errors import ConfigError

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS batches (token TEXT PRIMARY KEY, id TEXT, file TEXT, fields TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS rows (
        key BLOB PRIMARY KEY, token TEXT NOT NULL, asked BLOB NOT NULL, status INTEGER, body BLOB
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS rows_by_token ON rows (token);
"""
_LIVE = ""
"""Stands for the batch of a row that is sent live."""
_WRITTEN_AT_ONCE = 500
"""Row entries that are written in one transaction, since each transaction waits for the disk."""


@dataclass(slots=True, kw_only=True)
class SentBatch:
    """A batch that was sent, or was about to be."""

    token: str
    """Our own name for it."""
    provider: str
    model: str | None
    key_variable: str | None
    """The variable of the key with which it was sent, if the provider has several."""
    path: str
    """See `Submission.path`."""
    rows: int
    created: float
    """See `Submission.created`."""
    id: str | None = None
    """The vendor's id; None until it is known."""
    file_id: str | None = None
    """The id of its uploaded file."""
    is_certain: bool = True
    """Whether the vendor gave us its id. Otherwise it was found in a list, where it does not carry our name."""
    was_found: bool = False
    """Whether the ledger has it from an earlier run."""

    def submission(self, lines: Sequence[bytes] = ()) -> Submission:
        """Return it in the form that the vendor's API takes."""
        return Submission(
            token=self.token, path=self.path, rows=self.rows, created=self.created, lines=lines, file_id=self.file_id
        )


@dataclass(frozen=True, slots=True)
class RowMark:
    """The location of a row."""

    token: str
    """Its batch; empty if it is to be sent live."""
    asked: bytes
    """The hash of its request."""
    result: BatchResult | None = None
    """Its result, if there already is one."""

    @property
    def is_live(self) -> bool:
        """Whether it is to be sent live."""
        return self.token == _LIVE


def new_token() -> str:
    """Return a unique name for a batch."""
    return f"llr-{secrets.token_hex(8)}"


class VendorLedger:
    """The ledger of one output. It belongs to the holder of the output's lock.

    Args:
        path: Its file; created if missing.

    Raises:
        ConfigError: it cannot be opened, or is not a ledger. It is not recreated: it records what was already sent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._untold: dict[bytes, RowMark | None] = {}
        """Changes not yet in the file: the location of rows; None: they have ended."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5)
            try:
                self._db.executescript(_SCHEMA)
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: what is at the vendor cannot be read: {error}", sent=False) from error

    def batches(self) -> list[SentBatch]:
        """Return the batches that have not been fetched yet, in order of creation."""
        with self._failing():
            found = self._db.execute("SELECT token, id, file, fields FROM batches").fetchall()
        made = [
            SentBatch(token=token, id=batch_id, file_id=file, was_found=True, **json.loads(fields))
            for token, batch_id, file, fields in found
        ]
        return sorted(made, key=lambda batch: batch.created)

    @property
    def has_rows(self) -> bool:
        """Whether it records any row that was sent."""
        with self._failing():
            return self._db.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is not None

    def intend(self, batch: SentBatch, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Record a batch that is about to be sent, with the keys of its rows and the hashes of their requests."""
        with self._writing():
            self._store(batch)
            self._db.executemany(
                "INSERT OR REPLACE INTO rows (key, token, asked) VALUES (?, ?, ?)",
                ((key, batch.token, asked) for key, asked in rows),
            )

    def tell(self, batch: SentBatch) -> None:
        """Record the current state of a batch."""
        with self._writing():
            self._store(batch)

    def drop(self, batch: SentBatch) -> None:
        """Forget a batch that was not sent, and that its rows were in it."""
        with self._writing():
            self._db.execute("DELETE FROM batches WHERE token = ?", (batch.token,))
            self._db.execute("DELETE FROM rows WHERE token = ? AND status IS NULL", (batch.token,))

    def fetched(self, batch: SentBatch) -> None:
        """Record that a batch was fetched. Its rows without a result are to be sent live."""
        with self._writing():
            self._db.execute("DELETE FROM batches WHERE token = ?", (batch.token,))
            self._db.execute("UPDATE rows SET token = ? WHERE token = ? AND status IS NULL", (_LIVE, batch.token))

    def mark(self, key: bytes) -> RowMark | None:
        """Return the location of the row with `key`; None if it was never sent."""
        if key in self._untold:
            return self._untold[key]
        with self._failing():
            found = self._db.execute("SELECT token, asked, status, body FROM rows WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        token, asked, status, body = found
        return RowMark(token, asked, None if status is None else BatchResult(None, status, body))

    def keep(self, key: bytes, token: str, result: BatchResult) -> None:
        """Keep the result of a row that has not been read again yet, if it is in the batch and has no result yet."""
        mark = self.mark(key)
        if mark is not None and mark.token == token and mark.result is None:
            self._note(key, RowMark(token, mark.asked, result))

    def ask_live(self, key: bytes, asked: bytes) -> None:
        """Record that a row is to be sent live."""
        self._note(key, RowMark(_LIVE, asked))

    def ended(self, key: bytes) -> None:
        """Record that the outcome of a row is in the output. If this record is lost, the output is authoritative."""
        self._note(key, None)

    def _note(self, key: bytes, mark: RowMark | None) -> None:
        self._untold[key] = mark
        if len(self._untold) >= _WRITTEN_AT_ONCE:
            with self._writing():
                pass

    def close(self, *, is_done: bool) -> None:
        """Close it; if the batch is done, remove it."""
        with suppress(BatchStoppedError):
            if not is_done:
                with self._writing():
                    pass
        self._db.close()
        if is_done:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _tell_rows(self) -> None:
        """Write the changes that are not in the file yet."""
        ended = [(key,) for key, mark in self._untold.items() if mark is None]
        self._db.executemany("DELETE FROM rows WHERE key = ?", ended)
        self._db.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)",
            (
                (
                    key,
                    mark.token,
                    mark.asked,
                    *((None, None) if mark.result is None else (mark.result.status, mark.result.body)),
                )
                for key, mark in self._untold.items()
                if mark is not None
            ),
        )
        self._untold.clear()

    def _store(self, batch: SentBatch) -> None:
        fields: dict[str, Any] = {
            name: getattr(batch, name)
            for name in ("provider", "model", "key_variable", "path", "rows", "created", "is_certain")
        }
        self._db.execute(
            "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)",
            (batch.token, batch.id, batch.file_id, json.dumps(fields)),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make the enclosed writes atomic; first write pending changes of rows."""
        with self._failing(), self._db:
            self._db.execute("BEGIN")
            self._tell_rows()
            yield

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise BatchStoppedError(f"{self.path} cannot be used: {error}", sent=False) from error
