"""The progress of a batch: the figures while it runs, and its report at the end."""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.answers import RowOutcome


@dataclass(slots=True, kw_only=True)
class BatchReport:
    """The figures of one run of a batch; `progress` receives them while it runs."""

    batch_id: str = ""
    """Identifies the traces of its calls, under ``metadata: {batch: ...}``; the same in each run of a batch."""
    out: Path = Path()
    """The file with the answers."""
    errors: Path = Path()
    """The file with the failures; it does not exist while there are none."""
    rows: int = 0
    """Rows read in this run, including those answered before."""
    answered: int = 0
    """Rows answered in this run."""
    failed: int = 0
    """Rows of this run that went to the errors file."""
    already_answered: int = 0
    """Rows that earlier runs had answered, and that were not sent again."""
    already_failed: int = 0
    """Rows that had failed in earlier runs, and were not sent again."""
    in_flight: int = 0
    """Rows in flight now."""
    input_tokens: int = 0
    """Tokens of the prompts that were answered in this run, as far as reported."""
    output_tokens: int = 0
    cost_usd: float = 0.0
    """Cost of this run's answers, as far as known; the cost of failed attempts is only in the traces."""
    failures: dict[str, int] = field(default_factory=dict)
    """Failed rows of this run, by failure type."""
    elapsed_seconds: float = 0.0
    total_rows: int | None = None
    """The total number of rows, if it is known before reading them."""
    share_read: float | None = None
    """The share of the input read so far, in bytes; None if the size is unknown."""
    waiting_for: str | None = None
    """Why no rows are sent at the moment: the failure that all of them met."""
    waiting_seconds: float = 0.0
    """Seconds until the next attempt, while `waiting_for` is set."""
    is_complete: bool = False
    """Whether every row of the input has an answer or is in the errors file."""

    def count(self, outcome: RowOutcome) -> None:
        """Count the outcome of a row."""
        if not outcome.is_answer:
            self.failed += 1
            kind = str(outcome.fields.get("error"))
            self.failures[kind] = self.failures.get(kind, 0) + 1
            return
        self.answered += 1
        usage, cost = outcome.fields.get("usage"), outcome.fields.get("cost_usd")
        if usage:
            self.input_tokens += usage.get("prompt_tokens") or 0
            self.output_tokens += usage.get("completion_tokens") or 0
        if cost:
            self.cost_usd += cost

    @property
    def done(self) -> int:
        """Rows that ended in this run, with an answer or without."""
        return self.answered + self.failed

    @property
    def rows_per_second(self) -> float:
        """Rows that ended per second, over this run."""
        return self.done / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the current rate; None if unknown."""
        total: float | None = self.total_rows
        if total is None and self.share_read and self.rows:
            total = self.rows / self.share_read
        if total is None or not self.done:
            return None
        left = total - self.already_answered - self.already_failed - self.done
        return max(0.0, left) / self.rows_per_second if self.rows_per_second else None

    def snapshot(self) -> BatchReport:
        """Return a copy that no longer changes."""
        return replace(self, failures=dict(self.failures))
