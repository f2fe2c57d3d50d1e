"""Connects the targets and providers of a `Health` to a shared state, each in its scopes.

A limits scope is named after a provider, one of its keys (``openai#OPENAI_API_KEY_2``) or a model with its own limits
(``openai/gpt-5``). A door is named after a target; the door of a rest, after a provider or a key. A key is named by its
variable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.health.shared.leased_limits import LeasedLimits, SharedBudget
from lee_llm_router.health.shared.link import StateLink
from lee_llm_router.health.shared.shared_door import SharedDoor
from lee_llm_router.health.states import ProviderState, TargetState
from lee_llm_router.health.waiting import TargetKey


def join_provider(link: StateLink, name: str, variable: str | None, state: ProviderState, lock: ForkLock) -> None:
    """Share the limits, the retry budget and the rest of a provider, or of one of its keys.

    Args:
        link: Asks the shared state.
        name: The provider's name.
        variable: The variable of the key; None if the provider does not have several.
        state: The local state; its shared parts are replaced.
        lock: Held by every user of `state`, now and later.
    """
    scope = name if variable is None else f"{name}#{variable}"
    wake = partial(_wake_first, state)
    budget = None
    if not isinstance(state.budget, SharedBudget):
        budget = state.budget = SharedBudget(state.budget, link)
    limits = LeasedLimits(
        state.limits, scope, link, lock=lock, waiting=lambda: state.line.size, wake=wake, budget=budget
    )  # fmt: skip
    if budget is not None:
        budget.belongs_to(limits)
    state.limits = limits
    state.door = SharedDoor(scope, link, state.rest, None, lock=lock, wake=wake)
    link.add(limits)
    link.add(state.door)


def join_target(
    link: StateLink, key: TargetKey, target: TargetState, lock: ForkLock, wake: Callable[[TargetState, float], None]
) -> None:
    """Share the doors of a target, the limits of its model, and its provider if that is not shared yet.

    Args:
        link: Asks the shared state.
        key: The target.
        target: The local state of the target.
        lock: Held by every user of `target`, now and later.
        wake: Wakes the calls for which a change at a target matters, given the time.
    """
    variable: str | None = getattr(key, "variable", None)
    if target.provider.door is None:
        join_provider(link, key[0], variable, target.provider, lock)
    scope = f"{key[0]}{'' if variable is None else '#' + variable}/{key[1] or ''}"
    wake_here = partial(_wake_of_model, target, wake)
    if target.limits is not None:
        target.limits = LeasedLimits(
            target.limits, scope, link, lock=lock, waiting=lambda: len(target.queue), wake=wake_here
        )  # fmt: skip
        link.add(target.limits)
    target.door = SharedDoor(scope, link, target.rest, target, lock=lock, wake=wake_here)
    link.add(target.door)


def _wake_of_model(target: TargetState, wake: Callable[[TargetState, float], None], now: float) -> None:
    wake(target, now)
    if target.limits is not None:
        for ticket in target.queue.firsts(target.limits.spare(now)):
            ticket.wake()


def _wake_first(state: ProviderState, now: float) -> None:
    # Wake as many as the lease has permits for: one after another would take as many turns of the event loop.
    for ticket in state.line.firsts(now, max(1, state.limits.spare(now))):
        ticket.wake()
