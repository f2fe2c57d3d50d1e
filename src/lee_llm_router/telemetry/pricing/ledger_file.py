"""A ledger in a small file, shared by all processes of a machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from random import uniform
from typing import Any

from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.log import logger
from lee_llm_router._util.numbers import amount
from lee_llm_router._util.small_files import UnfitFileError, read_small_file

FILE_NAME = "budgets.json"
_LOCK_NAME = "budgets.lock"
_SCHEMA = 1
_MOST_BYTES = 1_000_000
_MOST_PERIODS = 2
"""Periods to keep of one budget: the current one and the previous one."""
_LOCK_TRIES = 100
_LOCK_WAIT = 0.02
"""Most seconds between two tries; varied, since many processes may have begun to wait at once."""


class FileLedger:
    """Records spending in ``<folder>/budgets.json``, mode 0600.

    A writer holds a lock on a file next to it, writes a new file and renames it, so that neither readers nor killed
    writers ever leave half a file. If the file is gone, a new one begins: deleting it forgets all spending. An
    unreadable file is put aside as ``budgets.json.broken``, and this process continues from what it knows.

    Args:
        folder: Its folder, created on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._known: dict[str, float] = {}
        self._content: bytes | None = None
        """The file's content when last read or written, whose sums are in `_known`."""

    def add(self, amounts: Mapping[str, float]) -> Mapping[str, float]:
        """As `BudgetLedger.add`.

        Raises:
            OSError: it cannot be read, locked or written.
        """
        if not any(amounts.values()) and not self.path.exists():
            self._known = {}
            return dict.fromkeys(amounts, 0.0)
        if not any(amounts.values()):
            # Without the lock put nothing aside: another process may have repaired the file meanwhile.
            sums = self._read(puts_aside=False)
            return {name: sums.get(name, 0.0) for name in amounts}
        self._make_folder()
        with _locked(self.path.with_name(_LOCK_NAME)):
            sums = self._read()
            for name, usd in amounts.items():
                sums[name] = sums.get(name, 0.0) + usd
            sums = _kept(sums, amounts)
            self._write(sums)
        return {name: sums.get(name, 0.0) for name in amounts}

    def _make_folder(self) -> None:
        folder = self.path.parent
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError), (folder / ".gitignore").open("x") as hidden:
                hidden.write("*\n")

    def _read(self, *, puts_aside: bool = True) -> dict[str, float]:
        try:
            data, _ = read_small_file(self.path, _MOST_BYTES)
        except FileNotFoundError:
            self._known = {}
            return {}
        except UnfitFileError as error:
            return self._put_aside(str(error.strerror)) if puts_aside else dict(self._known)
        # By content: a new file may have the inode, the size and the time of the previous one.
        if data != self._content:
            sums = _sums_in(data)
            if sums is None:
                return self._put_aside("not a ledger of budgets") if puts_aside else dict(self._known)
            self._known, self._content = sums, data
        return dict(self._known)

    def _put_aside(self, what: str) -> dict[str, float]:
        logger.warning(
            "%s is %s: it is moved aside, and the spending known to this process is kept", self.path.name, what
        )
        with suppress(FileNotFoundError):
            self.path.replace(self.path.with_name(f"{FILE_NAME}.broken"))
        self._content = None
        return dict(self._known)

    def _write(self, sums: dict[str, float]) -> None:
        text = json.dumps({"schema": _SCHEMA, "spent_usd": sums}, indent=1, sort_keys=True) + "\n"
        new = self.path.with_name(f"{FILE_NAME}.new")
        with suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            rest = data = text.encode()
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        new.replace(self.path)
        self._known, self._content = sums, data


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on `path`. The wait is limited, since the holder may be suspended."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    for _ in range(_LOCK_TRIES):
        with FileLock(path, os.O_NOFOLLOW) as lock:
            if not lock.is_held_by_another:  # it is ours, or the file system has no locks
                yield
                return
        time.sleep(uniform(0, _LOCK_WAIT))  # noqa: S311 - it need not be secret
    raise TimeoutError("another process has held the lock on the budgets for too long")


def _sums_in(data: bytes) -> dict[str, float] | None:
    """Return the sums in a file; None if it is not a ledger."""
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    sums = found.get("spent_usd") if isinstance(found, dict) and found.get("schema") == _SCHEMA else None
    if not isinstance(sums, dict):
        return None
    checked = {name: amount(usd) for name, usd in sums.items()}
    return None if None in checked.values() else {name: usd for name, usd in checked.items() if usd is not None}


def _kept(sums: dict[str, float], current: Mapping[str, float]) -> dict[str, float]:
    """Return `sums` without periods long past; names of periods of the same length sort by time."""
    by_budget: dict[str, list[str]] = {}
    for name in sums:
        by_budget.setdefault(name.rpartition("|")[0], []).append(name)
    old = {name for names in by_budget.values() for name in sorted(names)[:-_MOST_PERIODS]}
    return {name: usd for name, usd in sums.items() if name not in old or name in current}
