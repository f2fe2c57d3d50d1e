"""The batch calls of a router."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack, cast

from lee_llm_router._util.clock import Clock
from lee_llm_router.routing.options import CallOptions

if TYPE_CHECKING:
    from lee_llm_router.batch.figures import BatchReport
    from lee_llm_router.batch.running import BatchRun
    from lee_llm_router.batch.settings import ProgressHook, RowFormat, Rows
    from lee_llm_router.router import LeeLLMRouter


class BatchOptions(CallOptions, total=False):
    """Keyword arguments of `LeeLLMRouter.batch`, in addition to those of every call."""

    template: str
    """The prompt, with the names of a row's fields in braces: ``Translate to {language}: {text}``."""
    system: str
    """Instructions for rows without instructions of their own."""
    row_format: RowFormat
    """The format of a file: ``jsonl``, ``csv``, ``tsv``, or ``text``, one prompt per line. Default: by its name."""
    ordered: bool
    """Put the output into the order of the rows after all are answered."""
    retry_errors: bool
    """Try rows again that failed in earlier runs."""
    append: bool
    """Continue an output that was started with another input or other settings."""
    max_failures: int
    """Stop after more failed rows than this. Default: no limit."""
    give_up_after: float
    """Seconds to wait out an outage. Default: a day."""
    engine: str
    """The engine that processes the rows. Default: ``live``, in this process."""
    engine_options: Mapping[str, Any]
    """Settings of the engine, by name."""
    progress: ProgressHook
    """Called with the current `BatchReport`, ten times a second at most, and at the end."""


class BatchCalls:
    """The batch methods of a router."""

    _clock: Clock

    def batch(
        self,
        rows: Rows,
        *,
        out: str | PathLike[str],
        role: str | None = None,
        concurrency: int | None = None,
        **options: Unpack[BatchOptions],
    ) -> BatchReport:
        """Ask `role` each of `rows`, and write one line of JSON for each answer to the file `out`.

        Rows that fail for a reason of their own go to ``<out>.errors.jsonl``. If a run ends early for any reason, call
        it again with the same arguments: it processes the rows that have no outcome yet. Outages are waited out.
        ``docs/batch.md`` describes rows and lines.

        Args:
            rows: The path of a file, or an iterable of prompts, messages or objects.
            out: The output. Its ledger is next to it.
            role: As for `complete`.
            concurrency: Rows in flight at once. Default: by the limits of the role's first target, else 16.
            **options: See `BatchOptions`; and options of every call, see `CallOptions`.

        Returns:
            The figures of this run.

        Raises:
            ConfigError: the rows, the output or an option cannot be used.
            BatchStoppedError: it ended before the last row: a budget is spent, no key works, an outage lasts longer
                than `give_up_after`, the disk is full. All answers so far are in the output.
        """
        from lee_llm_router.batch.running import run_here  # noqa: PLC0415 - most programs run no batch

        return run_here(self._batch_run(rows, out, role, concurrency, options))

    async def batch_async(
        self,
        rows: Rows,
        *,
        out: str | PathLike[str],
        role: str | None = None,
        concurrency: int | None = None,
        **options: Unpack[BatchOptions],
    ) -> BatchReport:
        """Same as `batch`, for asyncio. Cancelling the task ends it at once, and keeps the answers so far."""
        return await self._batch_run(rows, out, role, concurrency, options).run()

    def _batch_run(
        self,
        rows: Rows,
        out: str | PathLike[str],
        role: str | None,
        concurrency: int | None,
        options: Mapping[str, Any],
    ) -> BatchRun:
        from lee_llm_router.batch.running import BatchRun  # noqa: PLC0415 - as above
        from lee_llm_router.batch.settings import settings_of  # noqa: PLC0415

        router = cast("LeeLLMRouter", self)
        return BatchRun(router, rows, settings_of(out, role, concurrency, options), self._clock)
