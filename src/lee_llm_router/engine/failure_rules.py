"""What to do about a failure: the failure table as data, and the arithmetic over it. Pure, no clock of its own.

Waits are drawn with full jitter: evenly between 0 and a bound that doubles with each failure (M. Brooker,
"Exponential Backoff and Jitter", AWS Architecture Blog, 2015). A wait that the other side names is taken as it is,
neither shortened nor rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from lee_llm_router.engine.settings import RetryConfig
from lee_llm_router.errors import FailureType, LLMRouterError


class Again(Enum):
    """Whether the same target may be asked again within one call."""

    NEVER = "never"
    BACKOFF = "after a backoff, while it has attempts left"
    LAST = "only once no other target is left"


class Onward(Enum):
    """Whether the call may go on to the next target."""

    YES = "yes"
    IF_ASKED = "if the role's fallback_on names it"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the failure table."""

    again: Again
    onward: Onward = Onward.YES
    counts: bool = False
    """Whether it counts against the target's health."""
    shuts: bool = False
    """Whether a `retry_after` shuts the target's door for every call until then."""


RULES: dict[FailureType, Rule] = {
    FailureType.TIMEOUT: Rule(Again.LAST, counts=True),
    FailureType.RATE_LIMIT: Rule(Again.LAST, shuts=True),
    FailureType.OVERLOADED: Rule(Again.BACKOFF, counts=True, shuts=True),
    FailureType.PROVIDER_ERROR: Rule(Again.BACKOFF, counts=True),
    FailureType.INVALID_RESPONSE: Rule(Again.BACKOFF, counts=True),
    FailureType.AUTH: Rule(Again.NEVER),
    FailureType.QUOTA: Rule(Again.NEVER, shuts=True),
    FailureType.MODEL_NOT_FOUND: Rule(Again.NEVER),
    FailureType.CONTEXT_LENGTH: Rule(Again.NEVER),
    FailureType.CONTENT_FILTER: Rule(Again.NEVER, Onward.IF_ASKED),
    FailureType.INVALID_REQUEST: Rule(Again.NEVER, Onward.IF_ASKED),
    FailureType.CONTRACT_VIOLATION: Rule(Again.NEVER, Onward.NEVER),
    FailureType.UNAVAILABLE: Rule(Again.NEVER),
    FailureType.CANCELLED: Rule(Again.NEVER, Onward.NEVER),
    FailureType.UNKNOWN: Rule(Again.NEVER),
}


@dataclass(frozen=True, slots=True)
class Advice:
    """What one failure means for the call.

    `stop`: raise now. Otherwise `again_after` is the wait in seconds before this target may be asked again, or None
    if it is used up for this call; `stay` says to wait for it rather than go to the next target.
    """

    stop: bool = False
    again_after: float | None = None
    stay: bool = False


def backoff(retry: RetryConfig, failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after the `failures`-th failure at a target (from 1), drawn with full jitter.

    `random` gives a number in [0, 1).
    """
    bound = min(retry.max_backoff, retry.backoff * 2.0 ** min(failures - 1, 60))
    return bound * random()


def advise(
    error: LLMRouterError,
    *,
    tries: int,
    retry: RetryConfig,
    fallback_on: Collection[str],
    repeatable: bool,
    random: Callable[[], float],
) -> Advice:
    """What to do about `error`.

    Args:
        error: How the attempt failed.
        tries: Attempts made at this target in this call, this one included.
        retry: The role's limits and waits.
        fallback_on: Failure types the role lets go on although they would end the call.
        repeatable: False if the attempt may have changed something, so that no further attempt may follow.
        random: A number in [0, 1).
    """
    rule = RULES[error.failure_type]
    if not repeatable or rule.onward is Onward.NEVER:
        return Advice(stop=True)
    if rule.onward is Onward.IF_ASKED and error.failure_type not in fallback_on:
        return Advice(stop=True)
    if error.final or rule.again is Again.NEVER or tries >= retry.attempts:
        return Advice()
    if error.retry_after is not None:
        return Advice(again_after=error.retry_after)
    return Advice(again_after=backoff(retry, tries, random), stay=rule.again is Again.BACKOFF)
