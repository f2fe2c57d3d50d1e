"""The sink `prometheus`: counters and histograms of calls and attempts.

This module imports nothing of Prometheus, so that its settings can be checked and described without it. Building a sink
imports the package `prometheus-client`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.fields import Integer
from lee_llm_router.settings.mistakes import missing_extra
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.following import CallFollower, CallStart

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

NEEDS_EXTRA = 'the sink prometheus needs an extra: pip install "lee-llm-router[prometheus]"'


class PrometheusSettings(PluginSettings):
    """Settings of the sink `prometheus`."""

    port: Integer | None = Field(
        None, ge=1, le=65535, description="Port to serve the metrics at. Default: the application serves them."
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address to serve them at.")

    @model_validator(mode="after")
    def _has_client(self) -> Self:
        if find_spec("prometheus_client") is None:
            raise missing_extra(NEEDS_EXTRA)
        return self


class PrometheusSink:
    """Counts calls and attempts. Sinks with the same registry share their metrics.

    Args:
        registry: The registry of the metrics. Default: the client's global one.
        port: Port to serve the metrics at; None: the application serves them.
        host: Address to serve them at.

    Raises:
        ConfigError: the package `prometheus-client` is missing, or the port cannot be used.
    """

    config_model: ClassVar[type[PluginSettings]] = PrometheusSettings

    def __init__(
        self, *, registry: CollectorRegistry | None = None, port: int | None = None, host: str = "127.0.0.1"
    ) -> None:
        if find_spec("prometheus_client") is None:
            raise ConfigError(NEEDS_EXTRA, sent=False)
        from lee_llm_router.telemetry.sinks.prometheus_metrics import metrics_in, open_port  # noqa: PLC0415 - the extra

        self._metrics = metrics_in(registry)
        self._served = None if port is None else open_port(host, port, registry)

    @classmethod
    def from_settings(cls, settings: PrometheusSettings) -> Self:
        """Return the sink for a configuration."""
        return cls(port=settings.port, host=settings.host)

    def follow(self, call: CallStart) -> CallFollower:
        """Return a follower that counts `call`."""
        return self._metrics.follow(call)

    def close(self) -> None:
        """Stop serving the metrics, if no other sink does. They stay in their registry."""
        served, self._served = self._served, None
        if served is not None:
            served.release()
