"""The configuration file: its models, and the functions that read and check it."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.config.load import load_config
    from lee_llm_router.config.models import (
        DEFAULT_DEADLINE,
        CallSettings,
        ChainEntry,
        Fallback,
        FallbackConfig,
        LLMConfig,
        RoleConfig,
    )
    from lee_llm_router.config.provider_section import AnyProvider, Name, validate_provider
    from lee_llm_router.config.schema import json_schema, schema_text, template_text
    from lee_llm_router.engine.settings import (
        DEFAULT_TIMEOUT,
        AcceptConfig,
        ContractConfig,
        HedgeConfig,
        RetryConfig,
        StreamConfig,
    )
    from lee_llm_router.health.settings import HealthConfig
    from lee_llm_router.telemetry.settings import TraceConfig
else:
    # The models do not need the code that reads a file: 16 of the 240 ms of importing everything.
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.engine.settings",
        "lee_llm_router.health.settings",
        "lee_llm_router.telemetry.settings",
        "lee_llm_router.config.provider_section",
        "lee_llm_router.config.models",
        "lee_llm_router.config.load",
        "lee_llm_router.config.schema",
    )

__all__ = [
    "DEFAULT_DEADLINE",
    "DEFAULT_TIMEOUT",
    "AcceptConfig",
    "AnyProvider",
    "CallSettings",
    "ChainEntry",
    "ContractConfig",
    "Fallback",
    "FallbackConfig",
    "HealthConfig",
    "HedgeConfig",
    "LLMConfig",
    "Name",
    "RetryConfig",
    "RoleConfig",
    "StreamConfig",
    "TraceConfig",
    "json_schema",
    "load_config",
    "schema_text",
    "template_text",
    "validate_provider",
]
