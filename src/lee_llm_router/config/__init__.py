"""The configuration file: its models, and what reads it."""

from lee_llm_router.config.models import (
    DEFAULT_DEADLINE,
    AnyProvider,
    CallSettings,
    Fallback,
    FallbackConfig,
    LLMConfig,
    Name,
    RoleConfig,
    TargetSpec,
    json_schema,
    load_config,
    schema_text,
    template_text,
    validate_provider,
)
from lee_llm_router.engine.settings import DEFAULT_TIMEOUT, RetryConfig, StreamConfig
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.telemetry.settings import TraceConfig

__all__ = [
    "DEFAULT_DEADLINE",
    "DEFAULT_TIMEOUT",
    "AnyProvider",
    "CallSettings",
    "Fallback",
    "FallbackConfig",
    "HealthConfig",
    "LLMConfig",
    "Name",
    "RetryConfig",
    "RoleConfig",
    "StreamConfig",
    "TargetSpec",
    "TraceConfig",
    "json_schema",
    "load_config",
    "schema_text",
    "template_text",
    "validate_provider",
]
