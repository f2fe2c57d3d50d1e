"""The state of a router that needs no call: its settings, the health of its targets, what a call would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.messages import Messages
from lee_llm_router.engine.plan import RouterParts, Target
from lee_llm_router.errors import RouterClosedError
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.health.waiting import TargetKey
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.routing.assembly import Assembly
from lee_llm_router.routing.options import CallOptions
from lee_llm_router.telemetry.records import TraceStore

if TYPE_CHECKING:
    from lee_llm_router.routing.explanation import Explanation
    from lee_llm_router.telemetry.pricing.budgets import BudgetState


class RouterState:
    """The state of a router between calls, under the current configuration."""

    _assembly: Assembly
    _closed: bool

    @property
    def config(self) -> LLMConfig:
        """The current configuration."""
        return self._assembly.config

    @property
    def policy(self) -> RoutingPolicy:
        """The current policy."""
        policy: RoutingPolicy = self._assembly.policy
        return policy

    @property
    def telemetry_errors(self) -> int:
        """How often a store, sink, hook or observer has raised; none of these errors reached a caller."""
        return self._parts.reporter.errors

    def health(self) -> Mapping[TargetKey, TargetHealth]:
        """The current health of each target, by (provider, model). A target that was never called is missing."""
        parts = self._parts
        known = parts.health.snapshot()
        return known if parts.billing is None else parts.billing.shown_in(known, parts.clock.time())

    def budgets(self) -> tuple[BudgetState, ...]:
        """The remaining amount of each budget in the configuration: of the whole router, of roles, of providers."""
        parts = self._parts
        return () if parts.billing is None else parts.billing.states(parts.clock.time())

    def reset_health(self, provider: str | None = None, model: str | None = None) -> None:
        """Forget everything that keeps targets from being called: breakers, vendors' waits, rests, spent retry budgets.

        Use it when you know that an outage is over, or that a key was renewed.

        Args:
            provider: Only targets of this provider. Default: all.
            model: Only targets with this model. Default: all.
        """
        self._parts.health.reset(provider, model)

    def clear_cache(self) -> int:
        """Forget all answers in the caches of this router's roles; return the number forgotten.

        A file or a Redis namespace may also be the cache of other programs.
        """
        return self._assembly.clear_caches()

    @property
    def trace_store(self) -> TraceStore | None:
        """The store that receives the records; None if there is none."""
        return self._parts.reporter.store

    def resolve(self, role: str | None = None, **overrides: Unpack[CallOptions]) -> tuple[Target, ...]:
        """Return the targets that a call to `role` would use now, in order, as the policy chooses. Nothing is sent.

        Raises:
            LLMRouterError: as `complete` for a wrong option or policy.
        """
        return self._assembly.planner.resolve(role, overrides)

    def explain(
        self, role: str | None = None, messages: Messages | None = None, **overrides: Unpack[CallOptions]
    ) -> Explanation:
        """Return what a call with these arguments would do now: its targets, the reasons, and the settings.

        No provider is called, nothing is sent or traced, no permit is taken. The policy chooses as for a call.

        Args:
            role: As for `complete`.
            messages: The messages of the call. Without them, only the options are checked against the targets.
            **overrides: As for `complete`.

        Raises:
            LLMRouterError: as `complete` for a wrong message, option or policy.
        """
        if self._closed:
            raise RouterClosedError("the router is closed")
        return self._assembly.planner.explain(role, messages, overrides)

    @property
    def _parts(self) -> RouterParts:
        return self._assembly.parts
