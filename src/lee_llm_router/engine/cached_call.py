"""The steps of a call whose role has a cache: find a kept answer, wait for an equal call, or call and keep the answer.

How this works
--------------
`cached_steps` wraps `call_steps`, so a hit acquires no permit, does not affect health or budgets, and costs only the
lookup. A call that misses joins the flight of its key (`providers/cache/flights.py`). The leader of the flight makes
the call, keeps the answer, and lands it; the others use it like a kept answer.

An answer belongs to the target that gave it. The first target's answer is looked up before anything else. If it is
missing, the other targets' answers are looked up too, so that a fallback that has answered before need not be called
again: the selector finds them in `CallCaching.kept` when their turn comes.

A kept answer was accepted once, and is checked again for each call that gets it, since other roles have other rules. If
it fails that check, it counts as missing.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

from lee_llm_router._util.outside_collection import outside_collection
from lee_llm_router._util.work_limit import WorkLimitError
from lee_llm_router.engine.answer_checks import judge
from lee_llm_router.engine.attempts import call_steps
from lee_llm_router.engine.call_cache import CallCaching, RoleCache
from lee_llm_router.engine.kept_answer import WatchedAssembler, serve_kept
from lee_llm_router.engine.plan import SHORTEST_ATTEMPT, CallPlan, RouterParts, Target
from lee_llm_router.engine.recorder import CallRecorder
from lee_llm_router.engine.steps import CallStep, CallSteps, QueueStep, ReadStreamStep, WorkStep
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.cache.contract import KeptValue
from lee_llm_router.providers.cache.flights import Flight
from lee_llm_router.providers.cache.forms import AnswerForm

_LOOK = 1.0
"""Seconds after which a follower checks whether the stream that it waits for still moves."""
_STORE_SECONDS = 0.05
"""The longest time that a call waits for a slow store."""


def cached_steps(plan: CallPlan, parts: RouterParts) -> CallSteps:
    """Same as `call_steps`, but use the answer of an equal request if there is one.

    Raises:
        LLMRouterError: as `call_steps`. The error of an equal call in progress is not raised here: this call then asks
            for itself.
    """
    cache, form = plan.role_settings.cache, plan.operation.answer_form()
    key = None if cache is None or form is None else cache.key(plan, parts, form, plan.targets[0])
    if cache is None or form is None or key is None:
        return (yield from call_steps(plan, parts))
    run = _CachedCall(plan, parts, cache, form, key)
    if plan.caching is None:
        plan.caching = CallCaching()
    if plan.caching.is_fresh:
        return (yield from run.ask(plan.caching, None))
    found = yield from run.find([key])
    if found[0] is not None:
        served = yield from run.served(found[0])
        if served is not None:
            return served
    return (yield from run.together(plan.caching))


class _CachedCall:
    """One call whose answer may be kept; `key` is the key of its first target."""

    __slots__ = ("_cache", "_form", "_key", "_keys", "_parts", "_plan")

    def __init__(self, plan: CallPlan, parts: RouterParts, cache: RoleCache, form: AnswerForm, key: bytes) -> None:
        self._plan = plan
        self._parts = parts
        self._cache = cache
        self._form = form
        self._key = key
        self._keys: dict[bytes, int] | None = None
        """The index in the chain by each target's key; set once the first target's answer is missing."""

    def find(self, keys: list[bytes]) -> Generator[CallStep, Any, list[bytes | None]]:
        """Return the answers kept under `keys`."""
        begun = self._cache.store.begin_find(keys)
        if begun is None:
            return self._cache.store.find(keys)
        yield QueueStep(cast("Future[None]", begun), _STORE_SECONDS)
        return begun.result() if begun.done() else [None] * len(keys)

    def together(self, caching: CallCaching) -> CallSteps:
        """Make the call, or wait for the equal call in progress."""
        flight = self._cache.flights.join(self._key)
        try:
            while not flight.leads:
                if not (yield from self._waited(flight)):
                    break
            if flight.landed is not None and flight.landed[0] in self._places():
                served = yield from self.served(flight.landed[1], flight.landed[0])
                if served is not None:
                    return served
            if not flight.leads:
                flight.leave()
            # Another call may have kept an answer after this one looked.
            looks_again = flight.follows or flight.landed_lately
            keys = [key for key, place in self._places().items() if place or looks_again]
            found = (yield from self.find(keys)) if keys else []
            kept = {self._places()[key]: value for key, value in zip(keys, found, strict=True)}
            first = kept.pop(0, None)
            if first is not None:
                served = yield from self.served(first)
                if served is not None:
                    flight.land(self._key, first)
                    return served
            caching.kept = yield from self._acceptable(kept)
            return (yield from self.ask(caching, flight if flight.leads else None))
        finally:
            outside_collection(flight.leave)

    def ask(self, caching: CallCaching, flight: Flight | None) -> CallSteps:
        """Make the call, keep its answer, and land it for the calls that wait."""
        try:
            steps = call_steps(self._plan, self._parts)
            if flight is None or self._plan.stream is None:
                answer = yield from steps
            else:
                answer = yield from _watched(steps, flight)
        except LLMRouterError:
            if flight is not None:
                flight.fail()
            raise
        key, value = self._to_keep(caching, answer)
        if value is not None and key is not None:
            self._cache.store.keep((KeptValue(key, value, self._cache.ttl),))
        if flight is not None:
            if key is not None and value is not None:
                flight.land(key, value)
            else:
                flight.fail()
        return answer

    def served(self, kept: bytes, key: bytes | None = None) -> CallSteps:
        """Return the answer in `kept`, recorded; None if it is not acceptable. A streamed call hands it on first."""
        position = 0 if key is None else self._places()[key]
        target = self._plan.targets[position]
        answer = yield from self._accepted(kept, target)
        if answer is None:
            return None
        recorder = CallRecorder(self._plan, self._parts)
        try:
            return (yield from serve_kept(self._plan, recorder, target, answer))
        except BaseException as left:
            elapsed = self._parts.clock.monotonic() - self._plan.started
            outside_collection(recorder.ended_without_attempt, left, elapsed)
            raise
        finally:
            outside_collection(recorder.call_ended, 0)

    def _accepted(self, kept: bytes, target: Target) -> CallSteps:
        """Return the answer in `kept` if it is acceptable for this call, else None."""
        plan = self._plan
        try:
            answer = self._form.load(kept)
            request = plan.operation.request_of_kept(plan, target)
            try:
                answer = plan.operation.accepted(plan, target, request, answer)
            except WorkLimitError:
                left = self._time_left()
                check = partial(plan.operation.accepted_within, plan, target, request, answer, left)
                answer = yield WorkStep(check, left)
            if plan.accept is not None:
                yield from judge(plan, self._parts, answer, self._time_left)
        except Exception:  # noqa: BLE001 - others may have written the kept data; if it is invalid, the call is made
            return None
        return answer

    def _acceptable(self, kept: dict[int, bytes | None]) -> Generator[CallStep, Any, dict[int, Any]]:
        answers = {}
        for position, value in kept.items():
            if value is not None:
                answer = yield from self._accepted(value, self._plan.targets[position])
                if answer is not None:
                    answers[position] = answer
        return answers

    def _waited(self, flight: Flight) -> Generator[CallStep, Any, bool]:
        """Wait for `flight` for a while; return whether to go on waiting."""
        left = self._plan.started + self._plan.deadline - self._parts.clock.monotonic() - SHORTEST_ATTEMPT
        if left <= 0:
            return False
        yield QueueStep(flight.woken, min(left, _LOOK))
        if flight.leads:
            return True
        return not flight.woken.done() and not flight.is_stalled(self._parts.clock.monotonic())

    def _to_keep(self, caching: CallCaching, answer: Any) -> tuple[bytes | None, bytes | None]:
        """Return the key and the value of `answer`; None if it must not or cannot be kept."""
        attempt = caching.answered
        if attempt is None or attempt.provider.effects != "none":
            return None, None
        key = self._cache.key(self._plan, self._parts, self._form, attempt.target)
        if key is None:
            return None, None
        try:
            return key, self._form.dump(answer)
        except Exception:  # noqa: BLE001 - an answer may hold anything a third-party provider has put there
            return None, None

    def _places(self) -> dict[bytes, int]:
        if self._keys is None:
            self._keys = {self._key: 0}
            for position, target in enumerate(self._plan.targets[1:], start=1):
                key = self._cache.key(self._plan, self._parts, self._form, target)
                if key is not None:
                    self._keys.setdefault(key, position)
        return self._keys

    def _time_left(self) -> float:
        return max(SHORTEST_ATTEMPT, self._plan.started + self._plan.deadline - self._parts.clock.monotonic())


def _watched(steps: CallSteps, flight: Flight) -> CallSteps:
    """Run `steps`, and tell `flight` whether their stream moves."""
    outcome: Any = None
    error: BaseException | None = None
    try:
        step = next(steps)
        while True:
            if isinstance(step, ReadStreamStep):
                step.assembler = WatchedAssembler(step.assembler, flight)
            try:
                outcome = yield step
            except BaseException as caught:  # noqa: BLE001 - the steps decide about all of them
                error = caught
            step = steps.send(outcome) if error is None else steps.throw(error)
            error = None
    except StopIteration as end:
        return end.value
