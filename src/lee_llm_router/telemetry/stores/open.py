"""The one place that builds the trace store a configuration asks for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

if TYPE_CHECKING:  # the command `trace --dir` needs no settings, and so no pydantic
    from lee_llm_router.telemetry.settings import TraceConfig


def open_store(
    trace: TraceConfig | None = None,
    *,
    workspace: str | os.PathLike[str] | None = None,
    trace_dir: str | os.PathLike[str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> LocalFileTraceStore:
    """Return the store that `trace` asks for, for writing and reading. Nothing is read or written yet.

    Args:
        trace: The section of the configuration; None means the defaults. `enabled` is left to the caller: traces may be
            read where none are written.
        workspace: Takes the place of the section's `workspace`.
        trace_dir: Takes the place of the section's `dir`.
        clock: Tells the day.
    """
    # There is one type of store yet; with more of them, the section's type is looked up here.
    if trace is None:
        return LocalFileTraceStore(trace_dir, workspace, clock=clock)
    return LocalFileTraceStore(
        trace_dir or trace.dir,
        trace.workspace if workspace is None else workspace,
        keep_days=trace.keep_days,
        clock=clock,
    )
