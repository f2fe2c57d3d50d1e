"""The targets of one call while it is under way, and the next thing that is done with one. Data only."""

from __future__ import annotations

from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.engine.plan import Target
from lee_llm_router.health.states import Permit
from lee_llm_router.health.waiting import QueueTicket
from lee_llm_router.providers.base import Provider


@dataclass(slots=True, eq=False)
class Candidate:
    """A target within one call: how often it was asked, and whether and when it may be asked again."""

    target: Target
    position: int
    """In the chain, from 0."""
    provider: Provider[Any] | None = None
    request: Any = None
    """None until the provider is open and can serve the call."""
    first_request: Any = None
    """`request` as it was before any repair."""
    dropped: tuple[str, ...] = ()
    """Options that were left out of `request`, since its provider cannot express them."""
    tokens: int = 0
    """An estimate of what an attempt uses; 0 where nothing limits that."""
    has_effects: bool = False
    """Whether an attempt may change something apart from giving an answer."""
    tries: int = 0
    """Attempts that count against `retry.attempts`."""
    repairs: int = 0
    """How often the model was told that its answer breaks the contract."""
    ready_at: float = 0.0
    """The moment from which its last failure allows the next attempt."""
    retry_paid: bool = True
    """Whether the next attempt needs no token from the retry budget, or has one already."""
    asked: int = 0
    """Attempts made, those too that do not count."""
    failures: int = 0
    """Failed attempts that count."""
    unreached: int = 0
    """Attempts in a row that sent nothing."""
    unpaid_since: float | None = None
    """The moment from which its next attempt waits for the retry budget."""
    exhausted: bool = False
    """Whether this call asks it no more."""
    set_aside: bool = False
    """Whether the same target, asked with another key, stands for it: what failed there was not for the key."""
    skip_recorded: bool = False
    """Whether it has been noted as skipped."""


@dataclass(slots=True)
class NextAction:
    """The next action: attempt `candidate` if `permit` is set, otherwise wait until `at`."""

    candidate: Candidate
    at: float
    """A moment on the router's monotonic clock."""
    permit: Permit | None = None
    ticket: QueueTicket | None = None
    """The place in the queue where other calls wait too; its turn may come before `at`."""
    reason: str = ""
    """What a wait is for, or why an attempt is made although its target was shut."""
    asks_state: bool = False
    """Whether it waits for the answer of a shared state, which comes within milliseconds."""
    kept: Any = None
    """An answer that was kept for the target, so that it need not be asked."""
