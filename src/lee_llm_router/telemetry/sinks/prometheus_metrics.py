"""The metrics of the sink `prometheus`, and their server. Imports the package `prometheus-client`.

A label has few values: roles, providers and models as the configuration names them, outcomes and failure types. Free
text of a caller or a vendor (ids, served models, messages) is never a label; if callers ask for too many models, the
rest count under `other`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import ConfigError
from lee_llm_router.telemetry.following import AttemptEnd, CallEnd, CallFollower, CallStart
from lee_llm_router.telemetry.records import TraceRecord

SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
"""From a cached answer to the longest usual deadline."""
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60)
MAX_TARGETS = 500
"""How many pairs of provider and model, and how many roles, have their own labels."""
OTHER = "other"

_TARGET = ("provider", "model")
_TOKENS = (
    ("input", "prompt_tokens"), ("output", "completion_tokens"), ("cache_read", "cached_tokens"),
    ("cache_write", "cache_write_tokens"), ("reasoning", "reasoning_tokens"),
)  # fmt: skip

MetricT = TypeVar("MetricT", Counter, Gauge, Histogram)

_lock = ForkLock()
_by_registry: WeakKeyDictionary[CollectorRegistry, Metrics] = WeakKeyDictionary()
_served: dict[tuple[str, int], ServedPort] = {}


class Metrics:
    """The metrics in one registry, and the labels in use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"lee_llm_router_{name}", text, labels, registry=registry)

        self.calls = counter("calls", "Calls that ended.", "role", "outcome", "failure")
        self.attempts = counter("attempts", "Attempts that ended.", "role", *_TARGET, "outcome", "failure")
        self.keys = counter(
            "key_attempts", "Attempts with each of several keys, by its variable.", "provider", "key", "outcome",
            "failure",
        )  # fmt: skip
        self.retries = counter("retries", "Failures after which the same target was asked again.", "role", *_TARGET)
        self.fallbacks = counter("fallbacks", "Failures and skips after which the next target came.", "role", *_TARGET)
        self.hedges = counter("hedges", "Attempts made while another one was slow.", "role", *_TARGET)
        self.saved = counter("saved_calls", "Calls answered by another target than the first.", "role")
        self.tokens = counter(
            "tokens", "Tokens used. Cached ones are part of input, reasoning of output.", "role", *_TARGET, "type"
        )
        self.cost = counter("cost_usd", "US dollars of attempts whose cost is known.", "role", *_TARGET)
        self.call_seconds = Histogram(
            "lee_llm_router_call_seconds", "How long calls took, waits included.", ("role", "outcome"),
            buckets=SECONDS_BUCKETS, registry=registry,
        )  # fmt: skip
        self.attempt_seconds = Histogram(
            "lee_llm_router_attempt_seconds", "How long attempts took.", ("role", *_TARGET, "outcome"),
            buckets=SECONDS_BUCKETS, registry=registry,
        )  # fmt: skip
        self.first_token_seconds = Histogram(
            "lee_llm_router_first_token_seconds", "Time to the first output of streamed attempts.", ("role", *_TARGET),
            buckets=FIRST_TOKEN_BUCKETS, registry=registry,
        )  # fmt: skip
        self.breakers = Gauge(
            "lee_llm_router_breaker_open", "1 while the target's circuit breaker is open.", _TARGET,
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._targets: set[tuple[str, str]] = set()
        self._roles: set[str] = set()
        self._series: dict[tuple[str, ...], _Series] = {}
        self._call_series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def follow(self, call: CallStart) -> CallFollower:
        """As `PrometheusSink.follow`."""
        return _Call(self, self.role_label(call.role))

    def role_label(self, role: str) -> str:
        """Return the label of `role`."""
        return role if _is_among(self._roles, role) else OTHER

    def target_labels(self, provider: str | None, model: str | None) -> tuple[str, str]:
        """Return the labels of a target; empty if it has no model, and for an end outside of any attempt."""
        target = (provider or "", model or "")
        return target if _is_among(self._targets, target) else (target[0] if model else OTHER, OTHER)

    def series(self, role: str, record: TraceRecord) -> _Series:
        """Return the series that count `record`."""
        target, failure = self.target_labels(record.provider, record.model), record.failure_type or ""
        key = (role, *target, record.outcome, failure)
        return self._series.get(key) or self._series.setdefault(
            key, _Series(self, (role, *target), record.outcome, failure)
        )

    def call_series(self, role: str, outcome: str, failure: str) -> tuple[Counter, Histogram]:
        """Return the series that count calls with this end, and their seconds."""
        key = (role, outcome, failure)
        known = self._call_series.get(key)
        if known is None:
            known = (self.calls.labels(*key), self.call_seconds.labels(role, outcome))
            self._call_series[key] = known
        return known


class _Series:
    """The time series of one combination of labels: looking them up each time costs more than counting."""

    __slots__ = ("attempts", "cost", "fallbacks", "first_token", "hedges", "retries", "seconds", "tokens")

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str], outcome: str, failure: str) -> None:
        self.attempts = _once(metrics.attempts, *labels, outcome, failure)
        self.seconds = _once(metrics.attempt_seconds, *labels, outcome)
        self.retries = _once(metrics.retries, *labels)
        self.fallbacks = _once(metrics.fallbacks, *labels)
        self.hedges = _once(metrics.hedges, *labels)
        self.first_token = _once(metrics.first_token_seconds, *labels)
        self.cost = _once(metrics.cost, *labels)
        self.tokens = {field: _once(metrics.tokens, *labels, kind) for kind, field in _TOKENS}


class _Call(CallFollower):
    __slots__ = ("_first", "_last", "_metrics", "_role")

    def __init__(self, metrics: Metrics, role: str) -> None:
        self._metrics = metrics
        self._role = role
        self._first: tuple[str | None, str | None] | None = None
        self._last: tuple[str | None, str | None] | None = None

    def recorded(self, end: AttemptEnd) -> None:
        """Count an attempt, its tokens and what follows it."""
        record = end.record
        if record.provider is None:
            return
        series = self._metrics.series(self._role, record)
        if record.key_variable is not None:
            failure = record.failure_type or ""
            self._metrics.keys.labels(record.provider, record.key_variable, record.outcome, failure).inc()
        if record.hedge:
            series.hedges().inc()
        if not record.is_lost:
            self._last = (record.provider, record.model)
            self._first = self._first or self._last
            if record.verdict == "next":
                series.fallbacks().inc()
        if record.attempt is None:
            return
        if record.verdict == "retry":
            series.retries().inc()
        series.attempts().inc()
        series.seconds().observe(record.elapsed_ms / 1000)
        if record.first_token_ms is not None:
            series.first_token().observe(record.first_token_ms / 1000)
        if record.cost_usd is not None and record.cost_usd >= 0:
            series.cost().inc(record.cost_usd)
        if record.usage is not None:
            for field, counter in series.tokens.items():
                count = getattr(record.usage, field)
                if count:
                    counter().inc(count)

    def breaker_changed(self, provider: str, model: str | None, change: str) -> None:
        """Note the state of a target's breaker."""
        self._metrics.breakers.labels(*self._metrics.target_labels(provider, model)).set(change == "open")

    def ended(self, outcome: CallEnd, failure_type: str | None, elapsed_ms: float) -> None:
        """Count the call."""
        calls, seconds = self._metrics.call_series(self._role, outcome, failure_type or "")
        calls.inc()
        seconds.observe(elapsed_ms / 1000)
        if outcome == "ok" and self._first != self._last:
            self._metrics.saved.labels(self._role).inc()


class ServedPort:
    """The metrics at a port of this machine, for all sinks that name it: two routers, or two configurations."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        try:
            server, thread = start_http_server(port, host, _scraped(registry))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"metrics cannot be served at {host}:{port}: {reason}", sent=False) from error
        self.registry = registry
        self._key = (host, port)
        self._server: Any = server
        self._thread: threading.Thread = thread
        self.users = 0

    def release(self) -> None:
        """Give up one use of it; the last one closes it."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            _served.pop(self._key, None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def metrics_in(registry: CollectorRegistry | None) -> Metrics:
    """Return the metrics in `registry`, created on first use: a name can be registered only once."""
    place = REGISTRY if registry is None else registry
    with _lock:
        known = _by_registry.get(place)
        if known is None:
            known = _by_registry[place] = Metrics(place)
        return known


def open_port(host: str, port: int, registry: CollectorRegistry | None) -> ServedPort:
    """Serve the metrics in `registry`, or share the port with the sink that does.

    Raises:
        ConfigError: the port cannot be used, or shows another registry.
    """
    place = REGISTRY if registry is None else registry
    with _lock:
        served = _served.get((host, port))
        if served is None:
            served = _served[host, port] = ServedPort(host, port, place)
        elif served.registry is not place:
            raise ConfigError(f"another registry is already served at {host}:{port}", sent=False)
        served.users += 1
        return served


def _scraped(registry: CollectorRegistry) -> CollectorRegistry:
    """Return what a server shows of `registry`: in the client's multiprocess mode, the metrics of all processes."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return registry
    everything = CollectorRegistry()
    MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
    return everything


def _once(metric: MetricT, *labels: str) -> Callable[[], MetricT]:
    """Return a function for the series of `metric` with `labels`, created on first use so that none shows 0."""
    found: list[MetricT] = []

    def series() -> MetricT:
        if not found:
            found.append(metric.labels(*labels))
        return found[0]

    return series


def _is_among(known: set[Any], value: Any) -> bool:
    """Whether `value` is one of `known`, to which it is added if there is room."""
    if value in known:
        return True
    if len(known) >= MAX_TARGETS:
        return False
    known.add(value)
    return True
