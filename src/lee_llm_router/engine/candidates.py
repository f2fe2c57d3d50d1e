"""The targets of a call in progress, and the next action at one of them. Data only."""

from __future__ import annotations

from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.engine.plan import Target
from lee_llm_router.health.states import Permit
from lee_llm_router.health.waiting import QueueTicket
from lee_llm_router.providers.base import Provider


@dataclass(slots=True, eq=False)
class Candidate:
    """A target within one call: how often it was tried, and when it may be tried again."""

    target: Target
    position: int
    """Index in the chain, from 0."""
    provider: Provider[Any] | None = None
    request: Any = None
    """None until the provider is open and can serve the call."""
    first_request: Any = None
    """`request` as it was before any repair."""
    dropped: tuple[str, ...] = ()
    """Options left out of `request` because its provider cannot express them."""
    tokens: int = 0
    """An estimate of the tokens that an attempt uses; 0 if nothing limits tokens."""
    has_effects: bool = False
    """Whether an attempt may have side effects besides giving an answer."""
    tries: int = 0
    """Attempts that count against `retry.attempts`."""
    repairs: int = 0
    """How often the model was told that its answer breaks the contract."""
    ready_at: float = 0.0
    """The earliest time for the next attempt after its last failure."""
    retry_paid: bool = True
    """Whether the next attempt needs no token from the retry budget, or already has one."""
    asked: int = 0
    """Attempts made, including those that do not count."""
    failures: int = 0
    """Failed attempts that count."""
    unreached: int = 0
    """Consecutive attempts that sent nothing."""
    unpaid_since: float | None = None
    """The time since which its next attempt has waited for the retry budget."""
    exhausted: bool = False
    """Whether this call has given it up."""
    set_aside: bool = False
    """Whether the same target with another key stands in for it: that target's failure was not due to its key."""
    skip_recorded: bool = False
    """Whether it has been recorded as skipped."""


@dataclass(slots=True)
class NextAction:
    """The next action: attempt `candidate` if `permit` is set, otherwise wait until `at`."""

    candidate: Candidate
    at: float
    """A time on the router's monotonic clock."""
    permit: Permit | None = None
    ticket: QueueTicket | None = None
    """The place in a queue shared with other calls; its turn may come before `at`."""
    reason: str = ""
    """The reason for a wait, or for an attempt at a target that was shut."""
    asks_state: bool = False
    """Whether it waits for the answer of a shared state, which takes milliseconds."""
    kept: Any = None
    """A kept answer for the target, so that it need not be called."""
