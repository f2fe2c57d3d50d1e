"""Builds the link between a router and the shared state that its configuration names."""

from __future__ import annotations

from collections.abc import Iterable

from lee_llm_router._util.clock import Clock
from lee_llm_router._util.scrubbing import quoted
from lee_llm_router.health.shared.link import StateLink
from lee_llm_router.health.shared.link_threads import start_threads
from lee_llm_router.health.shared.plugins import STATES
from lee_llm_router.health.shared.settings import StateSettings
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.reporter import Reporter


def open_link(settings: PluginSettings, *, clock: Clock, reporter: Reporter, secrets: Iterable[str]) -> StateLink:
    """Return the link to the shared state that `settings` name. It does not connect yet.

    Args:
        settings: The section `state`.
        clock: Tells the time.
        reporter: Is notified when the state becomes unavailable, and when it is back.
        secrets: Texts that must not be shown.

    Raises:
        ConfigError: it cannot be built.
    """
    state = STATES.build(settings, clock=clock)
    shared = settings if isinstance(settings, StateSettings) else StateSettings(type=settings.type)
    link = StateLink(state, shared, clock=clock, starts=start_threads)
    tell(link, settings, reporter, secrets)
    return link


def tell(link: StateLink, settings: PluginSettings, reporter: Reporter, secrets: Iterable[str]) -> None:
    """Notify `reporter` from now on when the state of `link` becomes unavailable, and when it is back."""
    link.on_change = _Told(reporter, settings.type, tuple(secrets))


class _Told:
    """Sends the events of a shared state."""

    def __init__(self, reporter: Reporter, kind: str, secrets: tuple[str, ...]) -> None:
        self._reporter = reporter
        self._kind = kind
        self._secrets = secrets

    def __call__(self, reason: str | None) -> None:
        if reason is None:
            self._reporter.event("state.joined", "", "", state=self._kind)
        else:
            self._reporter.event("state.lost", "", "", state=self._kind, reason=quoted(reason, self._secrets))
