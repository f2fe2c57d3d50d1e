"""The module paths that applications import from, and the names that stand there."""

from __future__ import annotations

from importlib import import_module

import pytest

NAMES = {
    "config": (
        "AnyProvider CallSettings ChainEntry DEFAULT_DEADLINE DEFAULT_TIMEOUT Fallback FallbackConfig HealthConfig"
        " LLMConfig Name RetryConfig RoleConfig StreamConfig TraceConfig json_schema load_config schema_text"
        " template_text validate_provider"
    ),
    "router": "LLMRouter LeeLLMRouter",
    "client": "LLMClient",
    "response": (
        "LLMRequest LLMResponse LLMUsage MESSAGE_ROLES Message StreamChunk ToolCall ToolCallDelta bind_to_call"
        " message_text with_provider"
    ),
    "policy": (
        "ENTRY_POINT_GROUP ProviderChoice RoutingContext RoutingPolicy SimpleRoutingPolicy Target build_chain choose"
        " ensure_policy load_policy takes_context"
    ),
    "compression": "Compressor for_role pass_through",
    "telemetry": (
        "AttemptOutcome EVENT_NAMES EventSink LoggingSink NextStep RouterEvent SCHEMA_VERSION TokenUsageHook"
        " TraceRecord TraceStore event_level json_text logger target_name"
    ),
    "doctor": "CONFIG_NAMES CONFIG_VARIABLE CheckResult Level diagnose diagnose_live find_config",
    "errors": (
        "AuthenticationError ConfigError ContentFilterError ContextLengthError ContractViolationError FailureType"
        " InvalidRequestError InvalidResponseError LLMRouterError LLMTimeoutError ModelNotFoundError OverloadedError"
        " PolicyError ProviderError QuotaExceededError RateLimitError RouterClosedError UnavailableError"
        " UnknownFailureError error_for"
    ),
    "testing": (
        "After Answers Clock FakeClock Outcome Pieces Recorder ScriptedProvider ScriptedRouter UnscriptedCallError"
    ),
    "providers.base": (
        "BaseUrl Capabilities ChunkStream Effects EnvName Integer Number Provider ProviderConfig Seconds SettingsT"
        " SingleChunkStream ensure_response read_key"
    ),
    "providers.registry": (
        "BUILTIN_NAMES BUILTIN_TYPES ENTRY_POINT_GROUP available get register register_alias resolve"
    ),
    "providers.mock": "DEFAULT_MODEL DEFAULT_TEXT MockConfig MockProvider MockStep MockToolCall",
    "providers.http": "DEFAULT_MAX_RESPONSE_BYTES HTTPConfig HTTPProvider HeaderText",
    "providers.codex_cli": "CodexCLIConfig CodexCLIProvider KEY_VARIABLE SERVICE_KEY_VARIABLE VERSION_TIMEOUT",
}
"""Each path as it was when everything lay in one folder, with the names it held, under their names of today."""


@pytest.mark.parametrize("path", NAMES)
def test_a_path_imports_and_holds_its_names(path: str) -> None:
    module = import_module(f"lee_llm_router.{path}")
    assert [name for name in NAMES[path].split() if not hasattr(module, name)] == []
