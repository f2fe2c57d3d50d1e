"""Decides when to hedge an attempt that has not begun to answer with another target, and which answer counts.

How this works
--------------
The attempts of a hedged call run beside the generator that decides (`runners.py`). `Race.first_to_end` waits until one
of them has ended: it has answered, has begun to (a stream), or has failed. `call_steps` then treats it as any attempt.

- A good answer ends the call; for a stream, it ends the wait for the first output. The others are ended at once
  (`won`).
- After a failure, or an unusable answer, the call goes on with the attempts still running (`going_on`), without a wait
  and without another attempt. Only when the last has failed do the usual rules say what comes next.
- If the call is cancelled or ends with an error, all are ended.

Each time the latest attempt has not begun to answer after a while, one more target is tried, if that is possible at
once: the target is prepared, has no effects, and is neither waited for, shut nor limited; the call has attempts and
time left; and the slow provider's retry budget pays. There is one such look for each attempt, or a few within
milliseconds if a shared state has to grant the permit; if it finds no target, there is no second look.

A running attempt holds its permit in its `Flight`. The one that `call_steps` handles is no longer a flight; its permit
and its stream's assembler belong to the call, as in a call without a hedge.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from math import inf
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.answer_headers import NO_HEADERS
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import written_out
from lee_llm_router.engine.answer_times import AnswerTimes
from lee_llm_router.engine.billed_attempt import refusing
from lee_llm_router.engine.candidates import Candidate, NextAction
from lee_llm_router.engine.failures import forget_frames
from lee_llm_router.engine.plan import Attempt
from lee_llm_router.engine.preparation import prepare
from lee_llm_router.engine.runners import BegunStream, EndedRunner, Runner, SpentStream
from lee_llm_router.engine.settings import HedgeConfig
from lee_llm_router.engine.steps import (
    AwaitStep,
    BeginStreamStep,
    CallStep,
    ReadStreamStep,
    StartStep,
)
from lee_llm_router.engine.stream_assembler import StreamAssembler
from lee_llm_router.engine.streamed_attempt import begin_stream
from lee_llm_router.errors import FailureType, LLMRouterError, LLMTimeoutError
from lee_llm_router.health.states import Permit, Refusal
from lee_llm_router.telemetry.records import target_name

if TYPE_CHECKING:
    from lee_llm_router.engine.attempts import CallRun

_SHORTEST_LOOK = 0.05
"""Seconds between two looks after the call's deadline: attempts end by themselves then, some a little late."""
_STATE_SECONDS = 0.002
"""Seconds between two looks while a shared state decides about the permit."""
_MOST_KEPT = 1000


@dataclass(slots=True, eq=False)
class Flight:
    """A running attempt, and what the call holds for it."""

    action: NextAction
    attempt: Attempt
    permit: Permit
    assembler: StreamAssembler | None = None
    runner: Runner | None = None
    """None until it is started."""


class Race:
    """The concurrent attempts of one call.

    Args:
        run: The call.
        hedge: When to try another target.
    """

    __slots__ = ("_before", "_ended", "_hedge", "_hedge_at", "_hedges_left", "_run", "flights")

    def __init__(self, run: CallRun, hedge: HedgeConfig) -> None:
        self._run = run
        self._hedge = hedge
        self._hedges_left = hedge.max if hedge.same_target or len(run.plan.targets) > 1 else 0
        self._hedge_at = inf
        """The time of the next look for another target to try."""
        self._before: StreamAssembler | None = None
        """The output of earlier attempts that the caller has."""
        self._ended: Flight | None = None
        """The attempt that `call_steps` handles."""
        self.flights: list[Flight] = []

    def takes(self, candidate: Candidate) -> bool:
        """Whether an attempt at `candidate` belongs to the race: one is running already, or it may be hedged."""
        return bool(self.flights) or (self._hedges_left > 0 and _may_be_one_of_several(candidate))

    def begin(self, action: NextAction) -> Attempt:
        """Return the running attempt of `action`, or start it."""
        under_way = next((flight.attempt for flight in self.flights if flight.action is action), None)
        return under_way or self._run.begin(action)

    def first_to_end(
        self, action: NextAction, attempt: Attempt
    ) -> Generator[CallStep, Any, tuple[NextAction, Attempt]]:
        """Let `attempt` run, start hedges when they are due, and return the first attempt that has ended."""
        run = self._run
        if not self.flights:
            self._before = run.assembler
            yield from self._start(action, attempt)
        while (ended := next((f for f in self.flights if f.runner is None or f.runner.ended), None)) is None:
            now = run.clock.monotonic()
            if now >= self._hedge_at:
                yield from self._ask_beside(now)
                continue
            until = min(self._hedge_at, max(run.deadline_at, now + _SHORTEST_LOOK))
            yield AwaitStep([f.runner for f in self.flights if f.runner is not None], until - now)
        self.flights.remove(ended)
        self._ended, run.permit, run.assembler = ended, ended.permit, ended.assembler or run.assembler
        return ended.action, ended.attempt

    def outcome(self) -> Generator[CallStep, Any, Any]:
        """Return the result of the ended attempt (of a stream: after handing it on), or raise its exception."""
        flight, run = self._ended, self._run
        assert flight is not None and flight.runner is not None  # noqa: S101 - called after `first_to_end`
        try:
            answer = flight.runner.outcome()
        except (TimeoutError, LLMTimeoutError):
            self._learn(flight)  # it takes at least this long
            raise
        self._learn(flight)
        if run.plan.stream is None or not isinstance(answer, BegunStream):
            return answer
        assembler = flight.assembler
        assert assembler is not None  # noqa: S101 - as above
        stream = SpentStream(answer.stream) if answer.has_ended else answer.stream
        try:
            assembler.headers = getattr(answer.stream, "headers", NO_HEADERS)
            ready = [ready for chunk in answer.chunks for ready in assembler.add(chunk, run.clock.monotonic)]
        except BaseException:
            flight.runner.end()
            raise
        if assembler.started:
            self.won(flight.attempt)
        return (yield ReadStreamStep(stream, assembler, True, flight.attempt.context, ready))

    def going_on(self, failed: Attempt, error: LLMRouterError, stop: bool) -> NextAction | None:
        """Return the action to continue with another attempt after `error`; None if none is running, or none may count.

        If there is one, the failure is recorded.

        Args:
            failed: The attempt that has failed.
            error: How it failed.
            stop: Whether the failure table ends the call. Then it ends, unless only the answer was at fault.
        """
        if stop and error.failure_type is not FailureType.CONTRACT_VIOLATION:
            self.given_up(f"the call ended by {error.failure_type} of {target_name(*failed.target.names)}")
        if not self.flights:
            return None
        self._run.recorder.failed(failed, error, "next", 0.0, None)
        forget_frames(error)
        return self.flights[0].action

    def won(self, winner: Attempt) -> None:
        """End all but `winner`, which has given a good answer or begun to."""
        shown = target_name(winner.target.provider, winner.target.model)
        for flight in self._all_ended():
            if not flight.attempt.is_hedge:
                self._learn(flight)
            self._run.recorder.lost(flight.attempt, f"not waited for: {shown} answered first")

    def given_up(self, why: str) -> None:
        """End all, since the call ends without an answer from any of them."""
        for flight in self._all_ended():
            self._run.recorder.lost(flight.attempt, why)

    def cancelled(self, reason: BaseException, told: Attempt) -> None:
        """End all, since the caller gave up with `reason`. The call itself records `told`."""
        for flight in self._all_ended():
            if flight.attempt is not told:
                self._run.recorder.cancelled(flight.attempt, reason, None)

    def _all_ended(self) -> Iterator[Flight]:
        """End each running attempt, give its permit back, and yield it to be recorded."""
        while self.flights:
            flight = self.flights.pop(0)
            if flight.runner is not None:
                flight.runner.end()
            self._run.parts.health.release(flight.permit, FailureType.CANCELLED)
            yield flight

    def _start(self, action: NextAction, attempt: Attempt) -> Generator[CallStep, Any, None]:
        """Start `attempt`, whose permit the call holds."""
        run = self._run
        assert run.permit is not None  # noqa: S101 - every attempt has one
        flight = Flight(action, attempt, run.permit)
        self.flights.append(flight)
        run.permit = None
        try:
            step = self._step_of(flight)
            try:
                flight.runner = yield StartStep(step)
            except BlockingIOError:  # no thread can be started: make an attempt that needs none anyway
                if attempt.is_hedge:
                    raise
                flight.runner = EndedRunner((yield step))
        except Exception as error:  # noqa: BLE001 - whatever the exception, the attempt has failed
            flight.runner = EndedRunner(None, error)
        delay = self._delay(attempt) if self._hedges_left else None
        self._hedge_at = inf if delay is None else attempt.started_monotonic + delay

    def _step_of(self, flight: Flight) -> Attempt | BeginStreamStep:
        run, attempt = self._run, flight.attempt
        if run.plan.stream is None:
            return attempt
        flight.assembler, opening = begin_stream(run, attempt, run.plan.stream, self._before)
        is_bounded = attempt.provider.capabilities.bounded
        return BeginStreamStep(opening, flight.assembler, is_bounded, attempt.context)

    def _ask_beside(self, now: float) -> Generator[CallStep, Any, None]:
        """Try another target, if one is available now."""
        run, self._hedge_at = self._run, inf
        action = self._next(now)
        run.write_skips(last=False)
        if action is None:
            return
        self._hedges_left -= 1
        run.permit = action.permit
        attempt = run.begin(action, is_hedge=True)
        run.recorder.hedged(attempt, self.flights[0].attempt)
        yield from self._start(action, attempt)

    def _next(self, now: float) -> NextAction | None:
        """Return an attempt at a target that is available now; None if there is none."""
        run = self._run
        spent = run.charged >= run.plan.role_settings.retry.max_attempts
        if spent or now >= run.last_start or run.parts.pool.is_closed:
            return None
        health, refuse = run.parts.health, refusing(run.plan, run.parts)
        slow = self.flights[0].attempt
        for candidate in self._candidates():
            if (refuse is not None and refuse(candidate.target)) or not self._is_ready(candidate, now):
                continue
            permit = health.acquire(candidate.target.key, tokens=candidate.tokens)
            if isinstance(permit, Refusal):
                if permit.cause == "state" and permit.opens_at is not None and now < permit.opens_at:
                    self._hedge_at = now + _STATE_SECONDS
                    return None
                continue
            # The slow provider pays, since its answers earn: a target used only for hedges would earn too little.
            if health.spend_retry(slow.target.provider):
                took = written_out(now - slow.started_monotonic, 3)
                what = "answered" if run.plan.stream is None else "begun to answer"
                why = f"hedge: {target_name(*slow.target.names)} had not {what} after {took} s"
                return NextAction(candidate, now, permit, reason=why)
            health.release(permit, FailureType.CANCELLED)
            break
        return None

    def _candidates(self) -> Iterator[Candidate]:
        """Yield the targets to try: those after the latest in the chain and around, then perhaps the first once more.

        The first target with another key is the same target, and comes with it.
        """
        flying = [flight.action.candidate for flight in self.flights]
        every = self._run.selector.all_candidates()
        start = flying[-1].position + 1
        keys: list[Candidate] = []
        for candidate in every[start:] + every[:start]:
            if candidate in flying or candidate.set_aside:
                continue
            if any(candidate.target.differs_by_key(one.target) for one in flying):
                keys.append(candidate)
            else:
                yield candidate
        if self._hedge.same_target and self._run.plan.operation.name is None:
            yield from (*keys, flying[0])

    def _is_ready(self, candidate: Candidate, now: float) -> bool:
        """Whether the call may try `candidate` now, as far as the call itself knows."""
        run = self._run
        if candidate.exhausted or candidate.ready_at > now or candidate.tries >= run.plan.role_settings.retry.attempts:
            return False
        if candidate.request is None:
            problem = prepare(run.plan, run.parts, candidate)
            if problem is not None:
                candidate.exhausted = True
                run.selector.skipped.append((candidate.target, problem))
                return False
        # A target whose breaker is open or still probing does not help a call in a hurry.
        return _may_be_one_of_several(candidate) and not run.parts.health.breaker_admits_at(candidate.target.key)

    def _delay(self, attempt: Attempt) -> float | None:
        """Return the seconds after which `attempt` is hedged; None if that is not known yet."""
        after = self._hedge.after
        if isinstance(after, str):
            times = self._run.parts.answer_times.get(self._key(attempt))
            return None if times is None else times.percentile(float(after[1:]))
        return after

    def _learn(self, flight: Flight) -> None:
        """Record how long the target took until its first output, or at least until now."""
        if not isinstance(self._hedge.after, str):
            return
        known, key = self._run.parts.answer_times, self._key(flight.attempt)
        times = known.get(key)
        if times is None:
            if len(known) >= _MOST_KEPT:
                known.clear()
            times = known.setdefault(key, AnswerTimes())
        times.add(self._run.clock.monotonic() - flight.attempt.started_monotonic)

    def _key(self, attempt: Attempt) -> tuple[Any, ...]:
        """Return the properties that answers must share for their times to be comparable."""
        plan = self._run.plan
        return plan.role_settings.role, attempt.target.key, plan.stream is not None, plan.operation.name


def _may_be_one_of_several(candidate: Candidate) -> bool:
    """Whether its target may be called concurrently with another."""
    provider = candidate.provider
    return not candidate.has_effects and provider is not None and provider.capabilities.hedged
