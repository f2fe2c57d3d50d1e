"""Shared states by name, for the section `state` of a configuration."""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, SerializeAsAny

from lee_llm_router.settings.fields import AllowString
from lee_llm_router.settings.plugins import PluginRegistry, PluginSettings, check_named_plugin


def _problem(plugin: object) -> str | None:
    lacking = [name for name in ("exchange", "wait_for_changes", "close") if not callable(getattr(plugin, name, None))]
    return f"without a method {' and '.join(lacking)}" if lacking else None


STATES: PluginRegistry[Any] = PluginRegistry(
    "shared state",
    "lee_llm_router.states",
    {
        "memory": "lee_llm_router.health.shared.memory:MemoryState",
        "redis": "lee_llm_router.health.shared.redis_state:RedisState",
        "sqlite": "lee_llm_router.health.shared.sqlite_state:SqliteState",
    },
    problem=_problem,
)

register_state = STATES.register
"""Register a shared state under a name; see `PluginRegistry.register`."""


def _check_state(value: Any) -> Any:
    return check_named_plugin(STATES, value)


AnyState: TypeAlias = Annotated[SerializeAsAny[PluginSettings], BeforeValidator(_check_state), AllowString()]
"""A shared state's settings, as the model of its type; in the file a bare name is enough."""
