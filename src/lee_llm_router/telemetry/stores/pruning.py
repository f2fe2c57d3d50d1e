"""Deletes old traces on request: first says what would be deleted, and then deletes exactly that."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

from lee_llm_router.telemetry.stores.day_files import DayFile, day_files
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
from lee_llm_router.telemetry.stores.prune_plan import PrunePlan, TracePruner
from lee_llm_router.telemetry.stores.sqlite import SqliteTraceStore
from lee_llm_router.telemetry.stores.sqlite_prune import SqlitePruner


def pruners_of(store: Any) -> list[TracePruner]:
    """Return pruners for `store`, and for the stores within it; nothing if its traces cannot be deleted."""
    if isinstance(store, LocalFileTraceStore):
        return [FolderPruner(store.trace_dir)]
    if isinstance(store, SqliteTraceStore):
        return [SqlitePruner(store.path)]
    own = getattr(store, "pruners", None)
    if callable(own):
        return list(own())
    inner = getattr(store, "stores", None) or [getattr(store, "store", None)]
    return [pruner for one in inner if one is not None for pruner in pruners_of(one)]


class FolderPruner:
    """Deletes whole day files, and nothing else in the folder.

    Args:
        folder: The trace folder. A missing one is empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def plan(self, before: float | None = None, keep_bytes: float | None = None) -> PrunePlan:
        """As `TracePruner.plan`: files whose day ended before `before`; by size, all except the newest may go."""
        files = [file for file in day_files(self._folder) if file.is_plain]
        going = [file for file in files if before is not None and _end_of_day(file, before) <= before]
        if keep_bytes is not None:
            room = keep_bytes
            for place, file in enumerate(reversed(files)):
                room -= file.size
                if place and room < 0 and file not in going:
                    going.append(file)
        going.sort()
        gone = sum(file.size for file in going)
        return PrunePlan(
            place=self._folder, unit="files", gone=len(going), gone_bytes=gone, kept=len(files) - len(going),
            kept_bytes=sum(file.size for file in files) - gone, first=going[0].name if going else None,
            last=going[-1].name if going else None, what=tuple(file.name for file in going),
        )  # fmt: skip

    def carry_out(self, plan: PrunePlan) -> int:
        """As `TracePruner.carry_out`. A file that another process has deleted meanwhile counts as deleted."""
        return sum(1 for _ in self._deleted(plan.what))

    def _deleted(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            path = self._folder / name
            with suppress(FileNotFoundError):
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                path.unlink()
            yield name


def _end_of_day(file: DayFile, before: float) -> float:
    """Return when the day of `file` ended; never, for an impossible day, unless everything goes."""
    if before == inf:
        return 0.0
    with suppress(ValueError, OverflowError):
        return datetime.strptime(file.day, "%Y%m%d").replace(tzinfo=UTC).timestamp() + 86_400.0
    return inf
