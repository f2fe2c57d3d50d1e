"""The sink `logging`: events as records of a logger that the configuration names."""

from __future__ import annotations

import logging
from typing import ClassVar

from pydantic import Field

from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.sinks.logging import LoggingSink


class NamedLoggerSettings(PluginSettings):
    """Settings of the sink `logging`."""

    logger: str = Field("lee_llm_router.events", min_length=1, description="Name of the logger.")


class NamedLoggerSink(LoggingSink):
    """A `LoggingSink` for a logger other than the library's own, which gets every event anyway."""

    config_model: ClassVar[type[PluginSettings]] = NamedLoggerSettings

    def __init__(self, settings: NamedLoggerSettings) -> None:
        super().__init__(logging.getLogger(settings.logger))
