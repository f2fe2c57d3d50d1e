"""The bars: what must hold, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from speed.decisions import POLICIES
from speed.samples import Key, Samples, Spread

HTTPX: Key = ("httpx", "async-1")
LITELLM: Key = ("litellm", "async-1")
LITELLM_64: Key = ("litellm", "async-64")


@dataclass(frozen=True, slots=True)
class Bar:
    """`over` divided by `under` (or `over` itself, if `under` is None) must be at most, or at least, `limit`."""

    text: str
    over: Key
    under: Key | None
    limit: float
    sense: Literal["<=", ">="] = "<="
    unit: str = ""

    def measured(self, samples: Samples) -> Spread | None:
        """What came out; None if it was not measured."""
        return samples.spread(self.over) if self.under is None else samples.ratio(self.over, self.under)

    def holds(self, measured: Spread) -> bool:
        """Whether the median is on the right side of the limit."""
        return measured.middle <= self.limit if self.sense == "<=" else measured.middle >= self.limit


BARS: Sequence[Bar] = (
    Bar("async call, c=1, default install, to one httpx call", ("ours", "async-1"), HTTPX, 1.15),
    Bar("async call, c=64, default install, to one httpx call", ("ours", "async-64"), HTTPX, 1.15),
    Bar("async call, c=1000, default install, to one httpx call", ("ours", "async-1000"), HTTPX, 1.3),
    Bar("async call, c=1, [fast], to one httpx call", ("ours-fast", "async-1"), HTTPX, 0.55),
    Bar("async call, c=64, [fast], to one httpx call", ("ours-fast", "async-64"), HTTPX, 0.30),
    Bar("sync call, default install, to raw httpx sync", ("ours", "sync"), ("httpx", "sync"), 1.15),
    Bar("sync call, [fast], to raw httpx sync", ("ours-fast", "sync"), ("httpx", "sync"), 0.6),
    Bar("router alone, traces to a file, to one httpx call", ("alone", "async-1"), HTTPX, 0.07),
    Bar("router alone, traces off, to one httpx call", ("alone-untraced", "async-1"), HTTPX, 0.03),
    *(
        Bar(f"router alone, {what}, to one httpx call", (name, "async-1"), HTTPX, limit)
        for name, what, limit in (
            ("alone-sqlite", "traces to SQLite", 0.2),
            ("cost", "with prices", 0.05),
            ("budget", "with prices and a budget", 0.06),
            ("opentelemetry-api", "OpenTelemetry without an SDK", 0.05),
            ("opentelemetry", "OpenTelemetry with its SDK", 0.4),
            ("prometheus", "Prometheus", 0.1),
        )
    ),
    Bar(
        "call that overrides tools and two settings, alone, to a plain call",
        ("overrides", "async-1"),
        ("alone-untraced", "async-1"),
        2.0,  # 40 us were asked for where a plain call takes 13
    ),
    Bar("streamed chunk, to httpx.aiter_lines + json.loads", ("ours", "chunk"), ("httpx", "chunk"), 1.6),
    Bar("litellm's call over ours, c=1, default install", LITELLM, ("ours", "async-1"), 6, ">="),
    Bar("litellm's call over ours, c=64, default install", LITELLM_64, ("ours", "async-64"), 6, ">="),
    Bar("litellm's call over ours, c=1, [fast]", LITELLM, ("ours-fast", "async-1"), 12, ">="),
    Bar("litellm's call over ours, c=64, [fast]", LITELLM_64, ("ours-fast", "async-64"), 25, ">="),
    Bar(
        "call with 1,000 roles and providers configured, to 2",
        ("configured-1000", "async-1"),
        ("configured-2", "async-1"),
        1.05,
    ),
    *(
        Bar(f"{what} by {name}, [fast], to one by chat completions", (f"by-{name}", case), ("ours-fast", case), 1.2)
        for what, case in (("async call", "async-1"), ("streamed chunk", "chunk"))
        for name in ("responses", "anthropic", "gemini")
    ),
    Bar("import, to five pydantic models, asyncio and logging", ("import", "start"), ("five models", "start"), 1.25),
    Bar("lee-llm-router --help, to importing typer and pydantic", ("help", "start"), ("typer", "start"), 1.3),
    Bar("memory growth, call 1,000 to 10,000, default install", ("ours", "growth"), None, 1.0, unit="MB"),
    Bar("memory growth, call 1,000 to 10,000, [fast]", ("ours-fast", "growth"), None, 1.0, unit="MB"),
    *(Bar(f"policy {name}, decision over 4 targets", (name, "4 targets"), None, 20.0, unit="us") for name in POLICIES),
    Bar("trace records appended per CPU second", ("append", "per second"), None, 60_000, ">="),
    Bar("trace --last 20 over 1,000,000 records, to 1,000", ("last", "many"), ("last", "few"), 1.2),
)
