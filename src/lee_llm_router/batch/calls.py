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
    """Keyword arguments of `LeeLLMRouter.batch`, beside those of every call."""

    template: str
    """The prompt, with the names of a row's fields in braces: ``Translate to {language}: {text}``."""
    system: str
    """Instructions for the rows that bring none."""
    row_format: RowFormat
    """How a file is read: ``jsonl``, ``csv``, ``tsv``, or ``text``, a prompt a line. Default: by its name."""
    ordered: bool
    """Put the output into the order of the rows, once all are answered."""
    retry_errors: bool
    """Ask the rows again that have failed in earlier runs."""
    append: bool
    """Go on with an output that another input or other settings began."""
    max_failures: int
    """Stop once more rows than this have failed. Default: any number may."""
    give_up_after: float
    """Seconds that an outage is waited out. Default: a day."""
    engine: str
    """Who asks. Default: ``live``, this process."""
    engine_options: Mapping[str, Any]
    """Settings of that engine, by name."""
    progress: ProgressHook
    """Called with the `BatchReport` so far, ten times a second at most, and at the end."""


class BatchCalls:
    """What a router offers for many rows."""

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

        Rows that fail for a reason of their own go to ``<out>.errors.jsonl``. Called again with the same arguments,
        whatever has ended it before, it asks what has no outcome yet. An outage is waited out. ``docs/batch.md`` says
        what rows and lines look like.

        Args:
            rows: The path of a file, or prompts, messages or objects one after the other.
            out: The output. Its ledger stands beside it.
            role: As for `complete`.
            concurrency: Rows that are asked at once. Default: by the limits of the role's first target, else 16.
            **options: See `BatchOptions`; and options of every call, see `CallOptions`.

        Returns:
            The figures of this run.

        Raises:
            ConfigError: the rows, the output or an option cannot be used.
            BatchStoppedError: it ended before the last row: a budget is spent, no key serves, an outage lasts longer
                than `give_up_after`, the disk is full. What was answered is in the output.
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
        """Same as `batch`, for asyncio. Cancelling the task ends it at once, and keeps what was answered."""
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
