"""Which target of a call is asked next: the chain, who of it may be asked now, and who has to be waited for.

Pure but for opening providers. It takes leave (`Permit`) from `Health` for the attempt it names, so that no two calls
believe in the same free place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lee_llm_router.engine.plan import Target
from lee_llm_router.errors import LLMRouterError, UnavailableError
from lee_llm_router.health.tracker import BREAKER_OPEN, Health, Permit, Refusal, Ticket
from lee_llm_router.providers.base import Provider
from lee_llm_router.response import LLMRequest


@dataclass(slots=True, eq=False)
class Candidate:
    """A target within one call: how often it was asked, and whether and when it may be asked (again)."""

    target: Target
    place: int
    """In the chain, from 0."""
    provider: Provider[Any] | None = None
    request: LLMRequest | None = None
    has_effects: bool = False
    """Whether an attempt may change something besides giving an answer."""
    tries: int = 0
    ready_at: float = 0.0
    """The moment from which it may be asked, by what its last failure said."""
    charged: bool = True
    """Whether its next attempt is paid for: a first one and one the vendor named the time of are; a retry of our own
    choosing takes from the retry budget."""
    used_up: bool = False
    told: bool = False
    """Whether its being passed over has been traced."""


@dataclass(slots=True)
class Move:
    """What comes next: an attempt at `candidate` by its `permit`; or, without one, a wait until `at` at the latest."""

    candidate: Candidate
    at: float
    permit: Permit | None = None
    ticket: Ticket | None = None
    """Where others wait too: the place in the queue, whose turn may come before `at`."""


class Selection:
    """The chain of one call.

    Args:
        targets: The chain.
        health: Says who may be asked now.
        prepare: Opens a candidate's provider and builds its request; gives the reason if it cannot serve.
        last_start: The moment from which on no attempt may start.
    """

    __slots__ = (
        "_health", "_last_start", "_prepare", "_refused", "_ticket", "_waiting", "candidates",
        "opens_at", "passed_over",
    )  # fmt: skip

    def __init__(
        self,
        targets: Sequence[Target],
        health: Health,
        *,
        prepare: Callable[[Candidate], LLMRouterError | None],
        last_start: float,
    ) -> None:
        self.candidates = [Candidate(target, place) for place, target in enumerate(targets)]
        self._health = health
        self._prepare = prepare
        self.passed_over: list[tuple[Target, LLMRouterError]] = []
        """Targets that the looks since the last asking have passed over without an attempt, and why; each told once."""
        self._last_start = last_start
        self._ticket: Ticket | None = None
        self._waiting: list[tuple[float | None, Candidate, Refusal | None]] = []
        self._refused: list[tuple[Candidate, LLMRouterError]] = []
        """What the last look along the chain has found: who has to be waited for, who cannot serve."""
        self.opens_at: float | None = None
        """The moment from which any target may be asked again, as far as the last look could tell."""

    def after(self, candidate: Candidate | None, now: float, *, stay: bool = False) -> Move | None:
        """The move after an attempt at `candidate`, or a wait for it; None if no target is left.

        First whoever may be asked now, in the order of the chain from the next one on and around (with `stay`, from
        this one on, and it is waited for); else whoever may be asked soonest, if that is in time.
        """
        if now >= self._last_start:
            return None
        if (
            stay
            and candidate is not None
            and self._health.breaker_opens_at(candidate.target.key) <= candidate.ready_at
            and self._worth_a_wait(candidate, candidate.ready_at)
        ):
            return Move(candidate, candidate.ready_at)
        self._waiting, self._refused = [], []
        for other in self.candidates if candidate is None else self._from(candidate):
            permit = self._try(other, now)
            if permit is not None:
                if self._waiting or self._refused:
                    self._tell(other)
                return Move(other, now, permit)
        return self._wait()

    def resume(self, move: Move, now: float) -> Move | None:
        """The move after a wait: its candidate first, then the others."""
        return self.after(self.candidates[move.candidate.place - 1], now)

    def told(self) -> list[tuple[Target, LLMRouterError]]:
        """What there is in `passed_over`; it is not told again."""
        told, self.passed_over = self.passed_over, []
        return told

    def leave_queue(self) -> None:
        """Give up the place in a queue, if there is one."""
        if self._ticket is not None:
            self._health.leave(self._ticket)
            self._ticket = None

    def _from(self, candidate: Candidate) -> list[Candidate]:
        start = candidate.place + 1
        return [c for c in self.candidates[start:] + self.candidates[:start] if not c.used_up]

    def _try(self, candidate: Candidate, now: float) -> Permit | None:
        """Leave to ask `candidate` now, if it may be; else it is noted why not."""
        if candidate.request is None:
            problem = self._prepare(candidate)
            if problem is not None:
                candidate.used_up = True
                self._refused.append((candidate, problem))
                return None
        if candidate.ready_at > now:
            opens_at = self._health.breaker_opens_at(candidate.target.key)
            shut = Refusal(BREAKER_OPEN, opens_at, waitable=False, asked_at=now)
            late = opens_at > candidate.ready_at
            self._waiting.append((max(opens_at, candidate.ready_at), candidate, shut if late else None))
            return None
        if not candidate.charged and not self._pay(candidate):
            return None
        ticket = self._ticket if self._ticket is not None and self._ticket.key == candidate.target.key else None
        answer = self._health.enter(candidate.target.key, ticket, retry=candidate.tries > 0)
        if isinstance(answer, Permit):
            if ticket is not None:
                self._ticket = None
            elif self._ticket is not None:
                self.leave_queue()
            return answer
        self._waiting.append((answer.opens_at, candidate, answer))
        return None

    def _pay(self, candidate: Candidate) -> bool:
        """Take a retry from the budget where one is due; a target that cannot be paid for is used up."""
        if not candidate.charged:
            candidate.charged = self._health.spend_retry(candidate.target.provider)
            candidate.used_up = not candidate.charged
        return candidate.charged

    def _worth_a_wait(self, candidate: Candidate, at: float) -> bool:
        return at <= self._last_start and self._pay(candidate)

    def _wait(self) -> Move | None:
        """The wait for whoever opens soonest, if that is in time and worth it."""
        # Those of whom no moment is known come last.
        self._waiting.sort(key=lambda entry: (entry[0] is None, entry[0] or 0.0))
        known = [at for at, _, _ in self._waiting if at is not None]
        self.opens_at = min(known, default=None)
        for at, candidate, refusal in self._waiting:
            until = self._last_start if at is None else at
            if refusal is not None and not refusal.waitable:
                continue
            if not self._worth_a_wait(candidate, until):
                continue
            self._tell(candidate)
            if refusal is None:
                self.leave_queue()
                return Move(candidate, until)
            return Move(candidate, until, ticket=self._queue(candidate))
        self._tell(None)
        return None

    def _queue(self, candidate: Candidate) -> Ticket:
        key = candidate.target.key
        if self._ticket is None or self._ticket.key != key:
            self.leave_queue()
            self._ticket = self._health.queue(key)
        return self._ticket

    def _tell(self, chosen: Candidate | None) -> None:
        """Note those passed over that were never asked, each once."""
        self.passed_over += [(candidate.target, reason) for candidate, reason in self._refused]
        for at, candidate, refusal in self._waiting:
            if candidate is not chosen and refusal is not None and not candidate.tries and not candidate.told:
                candidate.told = True
                left = None if at is None else max(0.0, at - refusal.asked_at)
                when = "" if left is None else f" for another {left:.3g} s"
                reason = UnavailableError(f"not asked{when}: {refusal.reason}", retry_after=left, sent=False)
                self.passed_over.append((candidate.target, reason))
