"""The sink `opentelemetry`: a span for each call and for each attempt, and the metrics of the GenAI conventions.

This module imports nothing of OpenTelemetry, so that its settings can be checked and described without it. Building a
sink imports the package `opentelemetry-api`, which does nothing without an SDK; the application provides that.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.mistakes import missing_extra
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.following import CallFollower, CallStart

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

NEEDS_EXTRA = 'the sink opentelemetry needs an extra: pip install "lee-llm-router[otel]"'


class OpenTelemetrySettings(PluginSettings):
    """Settings of the sink `opentelemetry`."""

    propagate: bool | tuple[str, ...] = Field(
        False,
        description="Send traceparent, tracestate and baggage on to providers: to all (true), or to those named.",
    )

    @model_validator(mode="after")
    def _has_api(self) -> Self:
        if not _is_installed():
            raise missing_extra(NEEDS_EXTRA)
        return self


class OpenTelemetrySink:
    """Sends calls to OpenTelemetry: by default to the providers that the application has set.

    Args:
        propagate: Whether requests carry the headers `traceparent`, `tracestate` and `baggage`, as the application's
            propagator writes them: to all providers, or to those named.
        tracer_provider: Makes the tracer. Default: the global one.
        meter_provider: Makes the meter. Default: the global one.
        logger_provider: Makes the logger of the events that hold content. Default: the global one.

    Raises:
        ConfigError: the package `opentelemetry-api` is missing.
    """

    config_model: ClassVar[type[PluginSettings]] = OpenTelemetrySettings

    def __init__(
        self,
        *,
        propagate: bool | Collection[str] = False,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
    ) -> None:
        if not _is_installed():
            raise ConfigError(NEEDS_EXTRA, sent=False)
        from lee_llm_router.telemetry.sinks.opentelemetry_calls import Instruments  # noqa: PLC0415 - needs the extra

        self._instruments = Instruments(propagate, tracer_provider, meter_provider, logger_provider)

    @classmethod
    def from_settings(cls, settings: OpenTelemetrySettings) -> Self:
        """Return the sink for a configuration."""
        return cls(propagate=settings.propagate)

    def follow(self, call: CallStart) -> CallFollower | None:
        """Return a follower that makes the spans of `call`; None while there is no SDK."""
        return self._instruments.follow(call)


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.trace") is not None
    except ModuleNotFoundError:
        return False
