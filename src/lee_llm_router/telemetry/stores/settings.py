"""Settings of the trace stores that have their own."""

from __future__ import annotations

from pydantic import Field

from lee_llm_router.settings.fields import Integer, Seconds
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.plugins import AnyStore


class SqliteSettings(PluginSettings):
    """Settings of a store in one SQLite file."""

    path: str | None = Field(
        None, description="The file; a relative path starts at the folder of the traces. Default: traces.sqlite."
    )


class MultiSettings(PluginSettings):
    """Settings of a store that writes to several others."""

    stores: tuple[AnyStore, ...] = Field(min_length=1, description="The stores; the first that can be read is read.")


class BufferedSettings(PluginSettings):
    """Settings of a store that writes to another one later, in a thread."""

    store: AnyStore = Field(description="The store that keeps the records: its name, or its type and settings.")
    size: Integer = Field(10_000, ge=1, description="Most records that may wait; further ones are dropped and counted.")
    flush_records: Integer = Field(500, ge=1, description="Number of waiting records that are written at once.")
    flush_seconds: Seconds = Field(1.0, description="Most seconds that a record waits for others.")
