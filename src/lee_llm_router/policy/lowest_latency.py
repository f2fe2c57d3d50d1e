"""The policy `lowest_latency`: prefers the target that has recently answered fastest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from random import random as system_random
from typing import ClassVar, Literal

from pydantic import Field

from lee_llm_router._util.printable import printable
from lee_llm_router.errors import FailureType
from lee_llm_router.policy.contract import RoutingContext
from lee_llm_router.policy.round_robin import Turns
from lee_llm_router.policy.spreading import AmongSettings, Spread, SpreadPolicy, open_and_shut, rotated
from lee_llm_router.settings.fields import Number
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import TraceRecord

_NOT_ITS_FAULT = frozenset({
    FailureType.CONTEXT_LENGTH, FailureType.CONTENT_FILTER, FailureType.INVALID_REQUEST,
    FailureType.CONTRACT_VIOLATION, FailureType.UNAVAILABLE, FailureType.CANCELLED,
})  # fmt: skip
"""Failures that say nothing about a target's speed."""
_LEAST_SHARE = 0.01
_CHARACTERS_A_TOKEN = 4
"""Used if no usage is reported. It is the usual estimate for English text."""
_MOST_MEASURED = 4096
"""The most targets that are remembered, since callers may pass any model name."""


class LatencySettings(AmongSettings):
    """Settings of the policy `lowest_latency`."""

    measure: Literal["elapsed", "first_token", "per_token"] = Field(
        "elapsed",
        description="elapsed: the time of an answer. first_token: the time to its first output, if it is streamed."
        " per_token: the time of an answer divided by its tokens.",
    )
    newest: Number = Field(0.2, gt=0, le=1, description="Weight of the newest answer in the average.")
    within: Number = Field(
        0.1, ge=0, le=10, description="Targets that are slower than the fastest by at most this share take turns."
    )
    explore: Number = Field(0.05, ge=0, le=1, description="Share of the calls that ask another target first.")


class _Measured:
    """The measurements of one target: moving averages of its times and of its success rate."""

    __slots__ = ("milliseconds", "succeeds")

    def __init__(self) -> None:
        self.milliseconds = inf
        """Infinite until the target has answered."""
        self.succeeds = 1.0

    def expected(self) -> float:
        """Return the expected milliseconds until an answer, if failed attempts are repeated."""
        return self.milliseconds / max(self.succeeds, _LEAST_SHARE)


class LowestLatencyPolicy(SpreadPolicy):
    """Orders the targets by their expected times, for each role separately.

    Targets that were never measured come first. Failures that are the target's fault raise its expected time. Targets
    that are shut or resting come last.

    Args:
        settings: What is measured, and how.
        random: Returns a number in [0, 1), for the share of calls that explore.
    """

    config_model: ClassVar[type[PluginSettings]] = LatencySettings

    def __init__(self, settings: LatencySettings, *, random: Callable[[], float] = system_random) -> None:
        super().__init__(settings)
        self._latency = settings
        self._random = random
        self._turns = Turns(random)
        self._measured: dict[tuple[str, str | None, str | None], _Measured] = {}
        """By role, provider and model, named as in records."""

    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:
        """See `SpreadPolicy.ordered`."""
        is_open, shut = open_and_shut(spread, context)
        if not is_open:
            return shut, "all are shut"
        unknown: list[int] = []
        known: list[tuple[float, int]] = []
        role = printable(spread.role)
        for place in is_open:
            measured = self._measured.get((role, *spread.targets[place].names))
            if measured is None:
                unknown.append(place)
            else:
                known.append((measured.expected(), place))
        known.sort()
        if unknown:
            first = rotated(unknown, self._turns.next(spread.role))
            return (*first, *(place for _, place in known), *shut), "not measured yet"
        order, reason = self._by_time(known, spread.role)
        return (*order, *shut), reason

    def _by_time(self, known: Sequence[tuple[float, int]], role: str) -> tuple[list[int], str]:
        """Return the places of `known`, which is sorted, and the reason for the first."""
        order = [place for _, place in known]
        explore = self._latency.explore
        drawn = self._random() if explore else 1.0
        if drawn < explore and len(order) > 1:
            other = 1 + int(drawn / explore * (len(order) - 1))
            order.insert(0, order.pop(other))
            return order, "asked to measure its speed now"
        fastest = known[0][0]
        most = fastest * (1 + self._latency.within)
        alike = sum(expected <= most for expected, _ in known)
        first = self._turns.next(role) % alike if alike > 1 else 0
        order.insert(0, order.pop(first))
        if fastest == inf:
            return order, "none has answered yet"
        return order, f"the fastest recently: {known[first][0]:.4g} ms{' a token' if self._is_by_token else ''}"

    @property
    def _is_by_token(self) -> bool:
        return self._latency.measure == "per_token"

    def observe(self, record: TraceRecord) -> None:
        """Learn from one attempt."""
        # An attempt that lost to a hedge would have answered, and would have taken at least as long.
        is_overtaken = record.is_lost and not record.hedge and not self._is_by_token
        is_answer = record.outcome == "ok" or is_overtaken
        if record.attempt is None or record.provider is None or not (is_answer or record.outcome == "error"):
            return
        if not is_answer and record.failure_type in _NOT_ITS_FAULT:
            return
        key = (record.role, record.provider, record.model)
        measured = self._measured.get(key)
        if measured is None:
            if len(self._measured) >= _MOST_MEASURED:
                self._measured.pop(next(iter(self._measured)), None)
            measured = self._measured.setdefault(key, _Measured())
        newest = self._latency.newest
        measured.succeeds += newest * (is_answer - measured.succeeds)
        if is_answer:
            time, before = self._time_of(record), measured.milliseconds
            measured.milliseconds = time if before == inf else before + newest * (time - before)

    def _time_of(self, record: TraceRecord) -> float:
        """Return the measured time of an answer in milliseconds."""
        if self._latency.measure == "first_token" and record.first_token_ms is not None:
            return record.first_token_ms
        if not self._is_by_token:
            return record.elapsed_ms
        tokens = None if record.usage is None else record.usage.completion_tokens
        return record.elapsed_ms / max(1, tokens or (record.response_chars or 0) // _CHARACTERS_A_TOKEN)
