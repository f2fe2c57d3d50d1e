"""Trace stores and event sinks by name, for the sections `trace: store` and `sinks` of a configuration."""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, SerializeAsAny

from lee_llm_router.settings.fields import AllowString
from lee_llm_router.settings.plugins import PluginRegistry, PluginSettings, check_named_plugin
from lee_llm_router.telemetry.following import AnyEventSink
from lee_llm_router.telemetry.records import TraceStore


def _lacks(*methods: str) -> Any:
    def problem(plugin: object) -> str | None:
        has_one = any(callable(getattr(plugin, method, None)) for method in methods)
        return None if has_one else f"without a method {' or '.join(methods)}"

    return problem


STORES: PluginRegistry[TraceStore] = PluginRegistry(
    "trace store",
    "lee_llm_router.stores",
    {
        "jsonl": "lee_llm_router.telemetry.stores.jsonl:LocalFileTraceStore",
        "sqlite": "lee_llm_router.telemetry.stores.sqlite:SqliteTraceStore",
        "multi": "lee_llm_router.telemetry.stores.multi:MultiStore",
        "buffered": "lee_llm_router.telemetry.stores.buffered:BufferedStore",
    },
    problem=_lacks("write"),
)
SINKS: PluginRegistry[AnyEventSink] = PluginRegistry(
    "event sink",
    "lee_llm_router.sinks",
    {
        "logging": "lee_llm_router.telemetry.sinks.named_logger:NamedLoggerSink",
        "opentelemetry": "lee_llm_router.telemetry.sinks.opentelemetry:OpenTelemetrySink",
        "prometheus": "lee_llm_router.telemetry.sinks.prometheus:PrometheusSink",
    },
    problem=_lacks("emit", "follow"),
)

register_store = STORES.register
"""Make a trace store known by name; see `PluginRegistry.register`."""
register_sink = SINKS.register
"""Make an event sink known by name; see `PluginRegistry.register`."""


def _check_store(value: Any) -> Any:
    return check_named_plugin(STORES, value)


def _check_sink(value: Any) -> Any:
    return check_named_plugin(SINKS, value)


AnyStore: TypeAlias = Annotated[SerializeAsAny[PluginSettings], BeforeValidator(_check_store), AllowString()]
"""A store's settings, as the model of its type; in the file a bare name is enough."""
AnySink: TypeAlias = Annotated[SerializeAsAny[PluginSettings], BeforeValidator(_check_sink), AllowString()]
"""A sink's settings, as the model of its type; in the file a bare name is enough."""
