"""Decides what a failure means for its call: the failure table as data, and the arithmetic over it. Pure.

Waits have equal jitter: they are drawn uniformly from the upper half of a bound that doubles with each failure (M.
Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015), so that no retry follows almost at once. A wait
that the vendor names is used unchanged, neither shortened nor rounded. But if it is shorter than any backoff, it only
means "not later than now": it applies once, then the backoff does, so that no target is hammered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.engine.settings import ContractConfig, RetryConfig
from lee_llm_router.errors import FailureType, LLMRouterError


class RetryRule(Enum):
    """Whether one call may try the same target again."""

    NEVER = "never"
    BACKOFF = "after a backoff, while it has attempts left"
    LAST = "only once no other target is left"
    REPAIR = "at once, told what was wrong, `contract.repair` times"


class FallbackRule(Enum):
    """Whether the call may go on to the next target."""

    YES = "yes"
    IF_ASKED = "if the role's fallback_on names it"
    UNLESS_RAISE = "yes, unless `contract.on_failure` is raise"
    OTHER_PROVIDER = "a target of another provider, if it was sent; any if the role's fallback_on names it"
    """If the error says that only the model is to blame, any target qualifies even if it was sent."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the failure table."""

    again: RetryRule
    onward: FallbackRule = FallbackRule.YES
    counts_against_target: bool = False
    """Whether it counts against the target's health."""
    closes_gate: bool = False
    """Whether a `retry_after` closes the target's gate to every call until then."""
    rests: bool = False
    """Whether the target rests for a while if there is no `retry_after`, since it cannot serve."""


RULES: dict[FailureType, Rule] = {
    FailureType.TIMEOUT: Rule(RetryRule.LAST, counts_against_target=True),
    FailureType.RATE_LIMIT: Rule(RetryRule.LAST, closes_gate=True),
    FailureType.OVERLOADED: Rule(RetryRule.BACKOFF, counts_against_target=True, closes_gate=True),
    FailureType.PROVIDER_ERROR: Rule(RetryRule.BACKOFF, counts_against_target=True),
    FailureType.INVALID_RESPONSE: Rule(RetryRule.BACKOFF, counts_against_target=True),
    FailureType.AUTH: Rule(RetryRule.NEVER, rests=True),
    FailureType.QUOTA: Rule(RetryRule.NEVER, closes_gate=True, rests=True),
    FailureType.MODEL_NOT_FOUND: Rule(RetryRule.NEVER, rests=True),
    FailureType.CONTEXT_LENGTH: Rule(RetryRule.NEVER),
    FailureType.CONTENT_FILTER: Rule(RetryRule.NEVER, FallbackRule.IF_ASKED),
    FailureType.INVALID_REQUEST: Rule(RetryRule.NEVER, FallbackRule.OTHER_PROVIDER),
    FailureType.CONTRACT_VIOLATION: Rule(RetryRule.REPAIR, FallbackRule.UNLESS_RAISE),
    FailureType.UNAVAILABLE: Rule(RetryRule.NEVER),
    FailureType.CANCELLED: Rule(RetryRule.NEVER, FallbackRule.NEVER),
    FailureType.UNKNOWN: Rule(RetryRule.NEVER),
}


FAILURES_OF_KEY = frozenset({FailureType.RATE_LIMIT, FailureType.AUTH, FailureType.QUOTA})
"""Failures after which another key of the same provider may succeed. No other failure depends on the key."""

KEY_WAIT = 1.0
"""Seconds for which one of several keys rests after a rate limit without a `retry_after`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one failure means for the call.

    With `stop`, the error is raised now. Otherwise `again_after` is the number of seconds before this target may be
    tried again, or None if this call gives it up; `stay` means to wait for it instead of going to the next target. With
    `free`, the next attempt sends a different request: it uses none of the target's attempts, no backoff and no retry
    budget.
    """

    stop: bool = False
    again_after: float | None = None
    stay: bool = False
    other_provider: bool = False
    """Whether only a target of another provider may follow."""
    named: bool = False
    """Whether the vendor named `again_after`, so that the next attempt takes nothing from the retry budget."""
    free: bool = False


_ASK_OTHERWISE = Decision(again_after=0.0, stay=True, free=True)


def backoff(retry: RetryConfig, failures: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait after the `failures`-th failure at a target (from 1), from the upper half of a bound.

    `random` returns a number in [0, 1).
    """
    bound = min(retry.max_backoff, retry.backoff * 2.0 ** max(0, min(failures - 1, 60)))
    return bound * (0.5 + 0.5 * random())


def brought_answer(error: LLMRouterError) -> bool:
    """Whether an unusable answer came: it cost tokens, so the attempt always counts as one of `attempts`."""
    return error.failure_type is FailureType.INVALID_RESPONSE and error.response is not None


def never_reached(error: LLMRouterError) -> bool:
    """Whether nothing was sent: the connection was refused, or DNS or TLS failed. Such an attempt is free."""
    return error.failure_type is FailureType.PROVIDER_ERROR and not error.sent and not error.final


def gate_wait(error: LLMRouterError, *, several_keys: bool) -> float | None:
    """Return the seconds for which `error` closes the gate of its target to all calls; None or 0 if it does not.

    Args:
        error: How the attempt failed.
        several_keys: Whether it used one of several keys, so that the others serve meanwhile.
    """
    if several_keys and error.retry_after is None and error.failure_type is FailureType.RATE_LIMIT:
        return KEY_WAIT
    return error.retry_after if RULES[error.failure_type].closes_gate else None


def decide(
    error: LLMRouterError,
    *,
    tries: int,
    failures: int,
    repairs: int = 0,
    retry: RetryConfig,
    contract: ContractConfig,
    fallback_on: Collection[str],
    repeatable: bool,
    random: Callable[[], float],
) -> Decision:
    """Decide what follows from `error`.

    Args:
        error: How the attempt failed.
        tries: Attempts made at this target in this call that count, this one included.
        failures: All attempts that failed at this target in this call, for the backoff.
        repairs: How often this target was told in this call that its answer breaks the contract.
        retry: The role's limits and waits.
        contract: What to do after a broken JSON contract.
        fallback_on: Failure types that would end the call, but after which the role allows a fallback.
        repeatable: False if the attempt may have changed something, so that no further attempt may follow.
        random: A number in [0, 1).
    """
    rule = RULES[error.failure_type]
    asked = error.failure_type in fallback_on
    if not repeatable or rule.onward is FallbackRule.NEVER or (rule.onward is FallbackRule.IF_ASKED and not asked):
        return Decision(stop=True)
    if error.ask_again or rule.again is RetryRule.REPAIR:
        return _asking_otherwise(error, contract, repairs)
    if rule.onward is FallbackRule.OTHER_PROVIDER and not asked:
        return Decision(other_provider=not error.of_model) if error.sent else Decision(stop=True)
    if error.final or rule.again is RetryRule.NEVER or tries >= retry.attempts:
        return Decision()
    if error.retry_after is not None:
        named = failures < 2 or error.retry_after >= retry.backoff
        least = 0.0 if named else backoff(retry, failures - 1, random)
        return Decision(again_after=max(error.retry_after, least), named=named)
    stay = rule.again is RetryRule.BACKOFF and not never_reached(error)
    return Decision(again_after=backoff(retry, failures, random), stay=stay)


def _asking_otherwise(error: LLMRouterError, contract: ContractConfig, repairs: int) -> Decision:
    if error.ask_again or (repairs < contract.repair and not error.final):
        return _ASK_OTHERWISE
    return Decision(stop=contract.on_failure == "raise")
