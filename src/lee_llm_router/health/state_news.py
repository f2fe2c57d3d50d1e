"""Notes for the link what a `Health` with a shared state asks and reports about one target."""

from __future__ import annotations

from lee_llm_router.health.states import Refusal, TargetState


def ask_shared(target: TargetState, refusal: Refusal, now: float, tokens: int) -> None:
    """Ask the shared state for what the refused call lacks."""
    provider = target.provider
    if refusal.cause == "state":
        of_model, door = target.limits, target.door
        if door is not None and door.known_by(now) is not None:
            door.ask(now)
        # The limits of the model matter only if those of the provider let an attempt pass.
        if of_model is not None and (door is None or door.is_known) and provider.limits.cause == "limit":
            of_model.ask(now, tokens)
        else:
            provider.limits.ask(now, tokens)
    elif refusal.cause in ("breaker", "gate") and target.door is not None:
        gate, breaker = target.gate, target.breaker
        if (breaker.probe_at is not None and breaker.needs_pass and breaker.probe_at <= now) or (
            not gate.is_led and gate.needs_pass and gate.closed_until <= now
        ):
            target.door.ask(now)


def tell_shared(target: TargetState, *, has_news: bool = False, reopened: bool = False) -> None:
    """Report to the shared state what has changed, if anything may have."""
    for door in (target.door, target.provider.door):
        if door is not None and (has_news or door.is_troubled):
            door.settled(reopened=reopened and door is target.door)
