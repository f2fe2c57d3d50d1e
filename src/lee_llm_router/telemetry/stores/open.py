"""The only place that builds the trace store of a configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.home_paths import expand_home
from lee_llm_router.telemetry.stores.day_files import SQLITE_FILE, day_files
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

if TYPE_CHECKING:  # the command `trace --dir` needs no settings, and so no pydantic
    from lee_llm_router.telemetry.records import TraceStore
    from lee_llm_router.telemetry.scanning import TraceScanner
    from lee_llm_router.telemetry.settings import TraceConfig


def open_store(
    trace: TraceConfig | None = None,
    *,
    workspace: str | os.PathLike[str] | None = None,
    trace_dir: str | os.PathLike[str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> TraceStore:
    """Return the store for `trace`, for writing and reading. Reads and writes nothing yet.

    A store with a class method ``from_settings(settings, *, trace, clock)`` gets the whole section and the clock.

    Args:
        trace: The section of the configuration; None means the defaults. The caller handles `enabled`: traces may be
            read even if none are written.
        workspace: Replaces the section's `workspace`.
        trace_dir: Replaces the section's `dir`.
        clock: Tells the day.

    Raises:
        ConfigError: the store cannot be built.
    """
    if trace is None:
        return LocalFileTraceStore(trace_dir, workspace, clock=clock)
    from lee_llm_router.telemetry.plugins import STORES  # noqa: PLC0415 - see above

    named: dict[str, str] = {}
    # Paths in code are relative to the current directory, not to the configuration file.
    if workspace is not None:
        named["workspace"] = _absolute(workspace)
    if trace_dir is not None:
        under = workspace is not None or trace.workspace is not None
        named["dir"] = os.fspath(trace_dir) if under else _absolute(trace_dir)
    return STORES.build(trace.store, trace=trace.changed(named) if named else trace, clock=clock)


def store_in(folder: Path) -> TraceScanner:
    """Return the store for the files in `folder`, for reading: daily files, unless there is only a SQLite file."""
    files = LocalFileTraceStore(folder)
    if (folder / SQLITE_FILE).exists() and not day_files(folder):
        from lee_llm_router.telemetry.stores.sqlite import SqliteTraceStore  # noqa: PLC0415 - most have none

        return SqliteTraceStore(folder / SQLITE_FILE)
    return files


def _absolute(path: str | os.PathLike[str]) -> str:
    try:
        return str(expand_home(Path(path)).absolute())
    except OSError:  # no home, or no current directory: the store reports it
        return os.fspath(path)
