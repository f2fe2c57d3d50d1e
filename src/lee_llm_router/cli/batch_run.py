"""Runs a batch for the command line: its progress, the effect of signals, and the final summary."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from dataclasses import asdict, replace
from time import monotonic
from typing import TYPE_CHECKING

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.running import BatchRun
from lee_llm_router.cli.output import PROGRAM, say, write_json
from lee_llm_router.cli.progress import ProgressLine
from lee_llm_router.cli.signals import EndedBySignalError
from lee_llm_router.cli.trace.figures import count, duration, money

if TYPE_CHECKING:
    from lee_llm_router.batch.figures import BatchReport
    from lee_llm_router.batch.settings import BatchSettings
    from lee_llm_router.router import LeeLLMRouter

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BAR = 20
_FIRST_LINE = 10.0
_LINE_EVERY = 60.0
"""Seconds between lines of progress without a terminal."""
_LONGEST_FAILURE = 1_000_000
"""Bytes to read at most of a line of the errors file, to show it."""
_GRACE = 5.0
"""Seconds that rows in flight get after SIGTERM or SIGHUP, whose sender will end the process soon."""


def run_batch(router: LeeLLMRouter, rows: str, settings: BatchSettings, *, as_json: bool) -> bool:
    """Run a batch, and return whether every row has its answer.

    Raises:
        ConfigError: it cannot start.
        KeyboardInterrupt, EndedBySignalError: it was told to end, and the answers so far are written.
    """
    with ProgressLine() as line:
        lines = _Lines()
        run = BatchRun(router, rows, replace(settings, progress=lines.told))
        line.tell(lambda: progress_text(run.figures, bar=True))
        ending = _Ending(run, line)
        try:
            report = asyncio.run(ending.run_to_end())
            stopped = None
        except BatchStoppedError as error:
            report, stopped = error.report, error
        finally:
            line.hide()
    if as_json:
        write_json(asdict(report), indent=2)
    if stopped is not None:
        say(f"{PROGRAM}: {stopped.message}")
    say(summary(report))
    if ending.signal is not None or stopped is not None:
        say("the same command continues where this one ended")
    if ending.signal == signal.SIGINT:
        raise KeyboardInterrupt
    if ending.signal is not None:
        raise EndedBySignalError(ending.signal)
    return report.is_complete and not (report.failed or report.already_failed)


class _Ending:
    """Runs a batch in an event loop where signals end it cleanly."""

    def __init__(self, run: BatchRun, line: ProgressLine) -> None:
        self._run, self._line = run, line
        self.signal: int | None = None
        """The signal that ended it."""

    async def run_to_end(self) -> BatchReport:
        """Run the batch. The first signal stops it, the second one cancels the rows in flight."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(self._run.run())
        is_main = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in _SIGNALS if is_main}
        taken = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
        for number in taken:
            loop.add_signal_handler(number, self._end, number, task)
        try:
            return await task
        except asyncio.CancelledError:
            if self.signal is None:
                raise
            return self._run.figures
        finally:
            for number, handler in taken.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _end(self, number: int, task: asyncio.Task[BatchReport]) -> None:
        if self.signal is not None:
            task.cancel()
            return
        self.signal = number
        self._run.stop()
        in_flight = self._run.figures.in_flight
        if number != signal.SIGINT:
            asyncio.get_running_loop().call_later(_GRACE, task.cancel)
        elif in_flight:
            say(f"waiting for {in_flight} rows in flight; Ctrl-C again abandons them")


class _Lines:
    """Reports the progress of a batch at intervals, if no terminal shows its progress line."""

    def __init__(self) -> None:
        self._is_wanted = not sys.stderr.isatty()
        self._due = monotonic() + _FIRST_LINE

    def told(self, figures: BatchReport) -> None:
        """Take the figures so far."""
        if self._is_wanted and monotonic() >= self._due:
            self._due = monotonic() + _LINE_EVERY
            say(progress_text(figures, bar=False))


def progress_text(figures: BatchReport, *, bar: bool) -> str:
    """Return the progress of a batch in one line."""
    share = _share(figures)
    known = figures.already_answered + figures.already_failed
    parts = [f"{figures.done:,} rows" + (f" ({known:,} before)" if known else "")]
    if share is not None:
        parts[0] = f"{share:.0%}, {parts[0]}"
    if figures.waiting_for is not None:
        parts.append(
            f"waiting: {figures.waiting_for}, next try {duration(figures.waiting_seconds * 1000)} after the last"
        )
    else:
        parts.append(f"{figures.rows_per_second:,.1f}/s")
        if figures.seconds_left is not None:
            parts.append(f"{duration(figures.seconds_left * 1000)} left")
    parts += _used(figures)
    drawn = f"[{'#' * round(share * _BAR):-<{_BAR}}] " if bar and share is not None else ""
    return drawn + ", ".join(parts)


def summary(figures: BatchReport) -> str:
    """Return the results of a batch in a few lines."""
    parts = [f"{figures.answered:,} answered"]
    if figures.already_answered:
        parts.append(f"{figures.already_answered:,} before")
    parts += _used(figures)
    if figures.already_failed:
        parts.append(f"{figures.already_failed:,} failed before")
    parts.append(f"in {duration(figures.elapsed_seconds * 1000)}")
    lines = [f"{figures.out}: {', '.join(parts)}"]
    if figures.failed or figures.already_failed:
        lines.append(f"{figures.errors}: the rows that failed; --retry-errors asks them again")
        lines += _first_failure(figures)
    return "\n".join(lines)


def _first_failure(figures: BatchReport) -> list[str]:
    """Return a line with the first failure in the errors file; empty if that cannot be read now."""
    try:
        with figures.errors.open("rb") as file:
            said = json.loads(file.readline(_LONGEST_FAILURE))
        return [f"the first of them, line {said['line']}: {said['error']}: {bounded(said['message'])}"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _share(figures: BatchReport) -> float | None:
    """Return the share of rows that have ended, from 0 to 1; None if unknown."""
    total: float | None = figures.total_rows
    if total is None and figures.share_read and figures.rows:
        total = figures.rows / figures.share_read
    ended = figures.done + figures.already_answered + figures.already_failed
    return min(1.0, ended / total) if total else None


def _used(figures: BatchReport) -> list[str]:
    parts = []
    if figures.input_tokens or figures.output_tokens:
        parts.append(f"tokens {count(figures.input_tokens)} in, {count(figures.output_tokens)} out")
    if figures.cost_usd:
        parts.append(money(figures.cost_usd))
    if figures.failed:
        kinds = sorted(figures.failures.items(), key=lambda kind: -kind[1])
        parts.append(f"{figures.failed:,} failed ({', '.join(f'{name} {number:,}' for name, number in kinds)})")
    return parts
