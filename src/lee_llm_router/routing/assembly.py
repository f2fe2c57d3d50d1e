"""The parts of a router under one configuration: built from it, handed over to the next one, and closed.

A router that reloads its file builds a second assembly next to the first. Calls in progress hold the parts of the first
until they end; only then are its providers and listeners closed. Parts with equal settings in both are handed over: the
policy, the trace store, the sinks, and the health of each unchanged provider.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router._util.outside_collection import outside_collection
from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router.compression import Compressor
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.plan import RouterParts
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.tracker import Health
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.policy.loading import ensure_policy, load_policy
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.providers.cassette.settings import CassetteConfig
from lee_llm_router.providers.keys import KeyedConfig, KeySource
from lee_llm_router.providers.pool import ProviderPool
from lee_llm_router.routing.planner import CallPlanner
from lee_llm_router.routing.role_policies import observer_of, role_policies
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.following import AnyEventSink
from lee_llm_router.telemetry.plugins import SINKS
from lee_llm_router.telemetry.pricing.need import needs_prices
from lee_llm_router.telemetry.records import TraceRecord, TraceStore
from lee_llm_router.telemetry.reporter import Reporter, TokenUsageHook
from lee_llm_router.telemetry.settings import TraceConfig
from lee_llm_router.telemetry.stores.open import open_store

if TYPE_CHECKING:
    from lee_llm_router.engine.billing import Billing
    from lee_llm_router.health.shared.link import StateLink
    from lee_llm_router.providers.cassette.tape import Tape
    from lee_llm_router.routing.answer_caches import AnswerCaches
    from lee_llm_router.telemetry.kept_records import KeptRecord, Redact
    from lee_llm_router.telemetry.pricing.contract import BudgetLedger, PriceBook


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterOptions:
    """The arguments of a router besides the configuration; see `LeeLLMRouter`."""

    policy: RoutingPolicy | str | None
    trace_store: TraceStore | Literal[False] | None
    event_sinks: tuple[AnyEventSink, ...]
    on_token_usage: TokenUsageHook | None
    compression: Compressor | Mapping[str, Compressor] | None
    trace_dir: str | PathLike[str] | None
    workspace: str | PathLike[str] | None
    wrap_provider: Callable[[Provider[Any]], Provider[Any]] | None
    prices: PriceBook | None
    budget_ledger: BudgetLedger | None
    clock: Clock
    random: Callable[[], float]
    redact: Redact | None = None
    cassette: CassetteConfig | Mapping[str, Any] | str | PathLike[str] | Literal[False] | None = None


class Assembly:
    """The parts of a router under one configuration.

    Args:
        config: The configuration.
        options: The application's arguments.
        before: The assembly that this one replaces.

    Raises:
        ConfigError: the configuration or the policy cannot be used. Nothing stays open.
    """

    def __init__(self, config: LLMConfig, options: RouterOptions, before: Assembly | None = None) -> None:
        self.config = config
        self._options = options
        self.policy = self._chosen_policy(before)
        self.role_policies: dict[str, RoutingPolicy] = {}
        if options.policy is None:
            known = ({}, None) if before is None else (before.role_policies, before.config)
            self.role_policies = role_policies(config, *known)
        store = self._opened_store(before)
        self._own_sinks: list[AnyEventSink] = []
        self._tape: Tape | None = None
        self.link: StateLink | None = None
        """Connects the health of the targets to a shared state."""
        try:
            self._open_sinks(before)
            self.planner = self._planner(before, store)
        except ConfigError:
            self._close_all(store, before)
            raise

    def _planner(self, before: Assembly | None, store: TraceStore | None) -> CallPlanner:
        """Build the call planner and everything it needs.

        Raises:
            ConfigError: a part cannot be built.
        """
        config, options = self.config, self._options
        workspace = _workspace(config.trace, options.workspace)
        self._tape = self._opened_tape()
        wrap = options.wrap_provider
        if self._tape is not None:
            from lee_llm_router.routing.cassettes import around  # noqa: PLC0415 - for tests

            wrap = around(self._tape, wrap)
        keys = {name: _named_keys(name, provider) for name, provider in config.providers.items()}
        self._named = {name: (keys[name], _named_variables(one)) for name, one in config.providers.items()}
        """The keys and variables that each provider's settings name but do not hold, as of the time of building."""
        secrets = (*config.filled_values(), *chain.from_iterable(keys.values()))
        reporter = self._reporter(before, store, secrets)
        parts = RouterParts(
            clock=options.clock,
            random=options.random,
            reporter=reporter,
            health=self._health(before, reporter, secrets),
            pool=ProviderPool(config.providers, options.clock, wrap=wrap),
            secrets=secrets,
            capture_full=config.trace.capture == "full",
            workspace=workspace,
            billing=self._billing(before, reporter),
        )
        if before is not None:
            parts.pool.prepare(before.parts.pool)
            parts.answer_times.update(before.parts.answer_times)
        self._caches = self._opened_caches(before)
        cache_of = None if self._caches is None else self._caches.of_role
        return CallPlanner(
            config, self.policy, parts, options.compression, role_policies=self.role_policies, cache_of=cache_of
        )

    @property
    def parts(self) -> RouterParts:
        """The parts that calls of this assembly hold."""
        return self.planner.parts

    def clear_caches(self) -> int:
        """See `LeeLLMRouter.clear_cache`."""
        return 0 if self._caches is None else self._caches.clear()

    def close(self) -> None:
        """Close the providers, the shared state, the store and the sinks."""
        self.parts.pool.close()
        self._close_billing()
        if self.link is not None:
            self.link.close()
        self._close_listeners()

    async def aclose(self) -> None:
        """Same as `close`, and also release what belongs to the running event loop."""
        try:
            await self.parts.pool.aclose()
        finally:
            if self.parts.billing is not None:  # it may have to wait for the lock on its file
                await call_in_thread_async(self._close_billing)
            if self.link is not None:
                await call_in_thread_async(self.link.close)
            self._close_listeners()

    def retire(self, successor: Assembly) -> weakref.finalize[..., RouterParts]:
        """Close the parts that `successor` has not taken over, once the last call that holds them has ended.

        Returns:
            A finalizer that closes them at once when called.
        """
        reporter = self.parts.reporter
        kept = [successor.parts.reporter.store, *successor._own_sinks]
        left = [pair for pair in _listeners(reporter.store, self._own_sinks) if not any(pair[1] is one for one in kept)]
        closing = weakref.finalize(
            self.parts, outside_collection, _close_retired, self.parts.pool, left, reporter.call_listener,
            None if self.link is successor.link else self.link,
        )  # fmt: skip
        closing.atexit = False  # at exit, leave it unclosed like any router that nobody closes
        return closing

    def _chosen_policy(self, before: Assembly | None) -> Any:
        given = self._options.policy
        chosen = self.config.policy if given is None else given
        if before is not None and (given is not None or chosen == before.config.policy):
            return before.policy
        return load_policy(chosen) if isinstance(chosen, str | PluginSettings) else ensure_policy(chosen)

    def _opened_store(self, before: Assembly | None) -> TraceStore | None:
        given, trace = self._options.trace_store, self.config.trace
        if given is False or (given is None and not trace.enabled):
            return None
        if given is not None:  # an empty store may be falsy
            return given
        if before is not None and before.parts.reporter.store is not None and before.config.trace == trace:
            return before.parts.reporter.store
        return open_store(
            trace, workspace=self._options.workspace, trace_dir=self._options.trace_dir, clock=self._options.clock
        )

    def _open_sinks(self, before: Assembly | None) -> None:
        if before is not None and before.config.sinks == self.config.sinks:
            self._own_sinks = before._own_sinks
            return
        for settings in self.config.sinks:
            self._own_sinks.append(SINKS.build(settings))

    def _reporter(self, before: Assembly | None, store: TraceStore | None, secrets: tuple[str, ...]) -> Reporter:
        options, trace = self._options, self.config.trace
        reporter = Reporter(
            store=store,
            sinks=(*self._own_sinks, *options.event_sinks),
            on_token_usage=options.on_token_usage,
            observer=observer_of(self.policy, self.role_policies),
            secrets=secrets,
            kept=_kept(trace, options.redact),
            redacted=_redacted(trace, options.redact),
        )
        if before is not None:
            reporter.errors = before.parts.reporter.errors
        return reporter

    def _health(self, before: Assembly | None, reporter: Reporter, secrets: Iterable[str]) -> Health:
        config, options = self.config, self._options
        is_same_state = before is not None and before.config.state == config.state
        if config.state is not None:
            from lee_llm_router.routing.state_parts import open_link, tell  # noqa: PLC0415 - most share nothing

            if before is not None and is_same_state and before.link is not None:
                self.link = before.link
                tell(self.link, config.state, reporter, secrets)
            else:
                self.link = open_link(config.state, clock=options.clock, reporter=reporter, secrets=secrets)
                self.link.begin()
        if before is None or not is_same_state or before.config.health != config.health:
            return Health(config.health, config.providers, options.clock, options.random, self.link)
        old, named = before.config.providers, before._named
        unchanged = [
            name for name, one in config.providers.items() if one == old.get(name) and self._named[name] == named[name]
        ]
        return before.parts.health.successor(config.health, config.providers, unchanged)

    def _billing(self, before: Assembly | None, reporter: Reporter) -> Billing | None:
        """Return the billing that prices attempts; None if only the vendors' own figures give costs."""
        options, config, old = self._options, self.config, None if before is None else before.parts.billing
        addresses = [getattr(provider, "base_url", None) for provider in config.providers.values()]
        if not (config.has_budgets or options.prices is not None or needs_prices(config.pricing, addresses)):
            return None
        from lee_llm_router.routing.billing_parts import ledger_folder, open_billing  # noqa: PLC0415 - many need none

        ledger = options.budget_ledger
        shared_ledger = None if self.link is None else getattr(self.link.state, "budget_ledger", None)
        if ledger is None and config.has_budgets and shared_ledger is not None:
            ledger = shared_ledger()
        return open_billing(
            config, prices=options.prices, ledger=ledger, clock=options.clock,
            folder=partial(ledger_folder, config, options.trace_dir, options.workspace),
            call_listener=reporter.call_listener, before=old,
        )  # fmt: skip

    def _opened_tape(self) -> Tape | None:
        """Return the cassette to record or play; None if there is none."""
        given = self._options.cassette
        if given is False or (given is None and self.config.cassette is None):
            return None
        from lee_llm_router.routing.cassettes import open_cassette  # noqa: PLC0415 - for tests

        return open_cassette(self.config.cassette if given is None else given)

    def _opened_caches(self, before: Assembly | None) -> AnswerCaches | None:
        if not self.config.has_caches:
            return None
        from lee_llm_router.routing.answer_caches import AnswerCaches  # noqa: PLC0415 - many programs have none

        return AnswerCaches(self.config, self._options.clock, None if before is None else before._caches)

    def _close_billing(self) -> None:
        """Save the amounts spent before closing the shared state, which may keep them."""
        if self.parts.billing is not None:
            self.parts.billing.close()

    def _close_listeners(self) -> None:
        if self._caches is not None:
            self._caches.close()
        if self._tape is not None:
            self._tape.close()
        reporter = self.parts.reporter
        _close(_listeners(reporter.store, self._own_sinks), reporter.call_listener)

    def _close_all(self, store: TraceStore | None, before: Assembly | None) -> None:
        """Close everything this assembly has opened itself, since building it failed."""
        if before is None or store is not before.parts.reporter.store:
            _close(_listeners(store, ()))
        if before is None or self._own_sinks is not before._own_sinks:
            _close(_listeners(None, self._own_sinks))
        if self._tape is not None:
            self._tape.close()
        if self.link is not None and (before is None or self.link is not before.link):
            self.link.close()


def _redacted(trace: TraceConfig, redact: Redact | None) -> Callable[[TraceRecord], TraceRecord] | None:
    if redact is None and not trace.redact:
        return None
    from lee_llm_router.telemetry.kept_records import TextRedaction  # noqa: PLC0415 - few need it

    return TextRedaction(trace.redact, redact).applied


def _kept(trace: TraceConfig, redact: Redact | None) -> KeptRecord | None:
    """Return what reduces records to the parts to keep; None (the usual case) if everything is kept."""
    if redact is None and not trace.redact and trace.sample == 1 and trace.capture != "none":
        return None
    from lee_llm_router.telemetry.kept_records import kept_records  # noqa: PLC0415 - few need it

    return kept_records(trace, redact)


def _workspace(trace: TraceConfig, given: str | PathLike[str] | None) -> str | None:
    """Return the folder that traces belong to, as written in records; None if there is no current directory."""
    if given is not None:
        return str(given)
    try:
        return str(trace.workspace_folder.absolute())
    except NoHomeError as error:
        raise ConfigError(f"trace.workspace: {error.strerror}", sent=False) from None
    except OSError:
        return None


def _listeners(store: object, sinks: Iterable[object]) -> list[tuple[str, object]]:
    return [("trace store", store), *(("event sink", sink) for sink in sinks)]


def _close(listeners: Iterable[tuple[str, object]], call: Callable[..., Any] | None = None) -> None:
    """Close a store and sinks, if they can be closed; use ``call(what, close)`` if given."""
    for what, listener in listeners:
        close = getattr(listener, "close", None)
        if close is not None:
            close() if call is None else call(what, close)


def _close_retired(
    pool: ProviderPool, listeners: Iterable[tuple[str, object]], call: Callable[..., Any], link: StateLink | None
) -> None:
    pool.close()
    if link is not None:
        link.close()
    _close(listeners, call)


def _named_keys(name: str, provider: ProviderConfig) -> tuple[str, ...]:
    """Return the current keys that a provider names: calls that end before it is used may quote one too."""
    if isinstance(provider, KeyedConfig):
        return tuple(KeySource(provider, name).known())
    variable = getattr(provider, "api_key_env", None)
    key = provider.origin.variable(variable) if isinstance(variable, str) else None
    return (key.strip(),) if key else ()


def _named_variables(provider: ProviderConfig) -> tuple[str | None, ...]:
    """Return the current values of the variables that a provider passes on."""
    names = getattr(provider, "env", ())  # in a third-party provider it may be anything
    names = names if isinstance(names, (list, tuple)) else ()
    return tuple(provider.origin.variable(name) for name in names if isinstance(name, str))
