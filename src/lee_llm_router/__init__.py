"""Lee LLM Router: call a role, get a complete answer or one typed error, and a trace of every attempt."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lee_llm_router._util.clock import Clock
    from lee_llm_router.batch.engine import BatchStoppedError
    from lee_llm_router.batch.figures import BatchReport
    from lee_llm_router.batch.rows import BatchRow
    from lee_llm_router.client import LLMClient
    from lee_llm_router.compression import Compressor
    from lee_llm_router.config.load import load_config
    from lee_llm_router.config.models import FallbackConfig, LLMConfig, RoleConfig
    from lee_llm_router.engine.operation import Operation
    from lee_llm_router.engine.settings import AcceptConfig, ContractConfig, HedgeConfig, RetryConfig, StreamConfig
    from lee_llm_router.engine.streaming import AsyncCompletionStream, CompletionStream
    from lee_llm_router.errors import (
        AuthenticationError,
        BudgetExceededError,
        ConfigError,
        ContentFilterError,
        ContextLengthError,
        ContractViolationError,
        FailureType,
        InvalidRequestError,
        InvalidResponseError,
        LLMRouterError,
        LLMTimeoutError,
        ModelNotFoundError,
        OverloadedError,
        PolicyError,
        ProviderError,
        QuotaExceededError,
        RateLimitError,
        RouterClosedError,
        UnavailableError,
        UnknownFailureError,
        UnrecordedRequestError,
    )
    from lee_llm_router.health.shared.plugins import register_state
    from lee_llm_router.health.states import TargetHealth
    from lee_llm_router.policy.contract import ProviderChoice, RoutingContext, RoutingPolicy
    from lee_llm_router.policy.loading import register_policy
    from lee_llm_router.policy.simple import SimpleRoutingPolicy
    from lee_llm_router.providers.base import Capabilities, ChunkStream, Provider, ProviderConfig
    from lee_llm_router.providers.cache.settings import CacheConfig
    from lee_llm_router.providers.cassette.settings import CassetteConfig
    from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
    from lee_llm_router.providers.registry import register, register_alias
    from lee_llm_router.providers.wrapper import WrapperProvider
    from lee_llm_router.response.content import audio_part, file_part, image_part
    from lee_llm_router.response.details import AnswerDetails, Citation, NativeTurn, TokenLogprob
    from lee_llm_router.response.tools import FunctionTool, tool_of
    from lee_llm_router.response.types import (
        LLMRequest,
        LLMResponse,
        LLMUsage,
        Message,
        StreamChunk,
        ToolCall,
        ToolCallDelta,
    )
    from lee_llm_router.router import LeeLLMRouter, LLMRouter
    from lee_llm_router.routing.explanation import ExplainedSetting, ExplainedTarget, Explanation
    from lee_llm_router.settings.plugins import PluginSettings
    from lee_llm_router.telemetry.events import EventSink, RouterEvent
    from lee_llm_router.telemetry.following import AttemptEnd, AttemptStart, CallFollower, CallStart, FollowingSink
    from lee_llm_router.telemetry.plugins import register_sink, register_store
    from lee_llm_router.telemetry.pricing.budgets import BudgetState
    from lee_llm_router.telemetry.pricing.contract import BilledUsage, BudgetLedger, PriceBook
    from lee_llm_router.telemetry.records import TraceReader, TraceRecord, TraceStore
    from lee_llm_router.telemetry.scanning import TraceScanner
    from lee_llm_router.telemetry.sinks.opentelemetry import OpenTelemetrySink
    from lee_llm_router.telemetry.sinks.prometheus import PrometheusSink
    from lee_llm_router.telemetry.stores.buffered import BufferedStore
    from lee_llm_router.telemetry.stores.failures import TraceStoreError
    from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore
    from lee_llm_router.telemetry.stores.multi import MultiStore
    from lee_llm_router.telemetry.stores.sqlite import SqliteTraceStore
else:
    # Names are imported on first access, so nobody (above all the command line) loads what they do not use.
    _HOMES = {
        "_util.clock": "Clock",
        "batch.engine": "BatchStoppedError",
        "batch.figures": "BatchReport",
        "batch.rows": "BatchRow",
        "providers.cache.settings": "CacheConfig",
        "providers.cassette.settings": "CassetteConfig",
        "client": "LLMClient",
        "compression": "Compressor",
        "config.load": "load_config",
        "config.models": "FallbackConfig LLMConfig RoleConfig",
        "response.content": "audio_part file_part image_part",
        "response.details": "AnswerDetails Citation NativeTurn TokenLogprob",
        "providers.embeddings": "EmbeddingRequest EmbeddingResponse",
        "engine.operation": "Operation",
        "engine.settings": "AcceptConfig ContractConfig HedgeConfig RetryConfig StreamConfig",
        "errors": (
            "AuthenticationError BudgetExceededError ConfigError ContentFilterError ContextLengthError "
            "ContractViolationError FailureType InvalidRequestError InvalidResponseError LLMRouterError "
            "LLMTimeoutError ModelNotFoundError OverloadedError PolicyError ProviderError QuotaExceededError "
            "RateLimitError RouterClosedError UnavailableError UnknownFailureError UnrecordedRequestError"
        ),
        "health.shared.plugins": "register_state",
        "health.states": "TargetHealth",
        "policy.contract": "ProviderChoice RoutingContext RoutingPolicy",
        "policy.loading": "register_policy",
        "policy.simple": "SimpleRoutingPolicy",
        "telemetry.pricing.budgets": "BudgetState",
        "telemetry.pricing.contract": "BilledUsage BudgetLedger PriceBook",
        "providers.base": "Capabilities ChunkStream Provider ProviderConfig",
        "providers.registry": "register register_alias",
        "providers.wrapper": "WrapperProvider",
        "response.types": "LLMRequest LLMResponse LLMUsage Message StreamChunk ToolCall ToolCallDelta",
        "router": "LLMRouter LeeLLMRouter",
        "routing.explanation": "ExplainedSetting ExplainedTarget Explanation",
        "settings.plugins": "PluginSettings",
        "engine.streaming": "AsyncCompletionStream CompletionStream",
        "telemetry.events": "EventSink RouterEvent",
        "telemetry.following": "AttemptEnd AttemptStart CallFollower CallStart FollowingSink",
        "telemetry.plugins": "register_sink register_store",
        "telemetry.records": "TraceReader TraceRecord TraceStore",
        "telemetry.scanning": "TraceScanner",
        "telemetry.sinks.opentelemetry": "OpenTelemetrySink",
        "telemetry.sinks.prometheus": "PrometheusSink",
        "telemetry.stores.buffered": "BufferedStore",
        "telemetry.stores.failures": "TraceStoreError",
        "telemetry.stores.jsonl": "LocalFileTraceStore",
        "telemetry.stores.multi": "MultiStore",
        "telemetry.stores.sqlite": "SqliteTraceStore",
        "response.tools": "FunctionTool tool_of",
    }
    _HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names.split()}
    _MODULES = frozenset({
        "batch", "client", "compression", "config", "engine", "errors", "health", "policy", "providers",
        "response", "router", "telemetry",
    })  # fmt: skip

    def __getattr__(name: str) -> object:
        if name in _HOME:
            value = getattr(import_module(_HOME[name]), name)
        elif name in _MODULES:
            value = import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES})


__version__ = "0.1.0"

__all__ = [
    "AcceptConfig",
    "AnswerDetails",
    "AsyncCompletionStream",
    "AttemptEnd",
    "AttemptStart",
    "AuthenticationError",
    "BatchReport",
    "BatchRow",
    "BatchStoppedError",
    "BilledUsage",
    "BudgetExceededError",
    "BudgetLedger",
    "BudgetState",
    "BufferedStore",
    "CacheConfig",
    "CallFollower",
    "CallStart",
    "Capabilities",
    "CassetteConfig",
    "ChunkStream",
    "Citation",
    "Clock",
    "CompletionStream",
    "Compressor",
    "ConfigError",
    "ContentFilterError",
    "ContextLengthError",
    "ContractConfig",
    "ContractViolationError",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "EventSink",
    "ExplainedSetting",
    "ExplainedTarget",
    "Explanation",
    "FailureType",
    "FallbackConfig",
    "FollowingSink",
    "FunctionTool",
    "HedgeConfig",
    "InvalidRequestError",
    "InvalidResponseError",
    "LLMClient",
    "LLMConfig",
    "LLMRequest",
    "LLMResponse",
    "LLMRouter",
    "LLMRouterError",
    "LLMTimeoutError",
    "LLMUsage",
    "LeeLLMRouter",
    "LocalFileTraceStore",
    "Message",
    "ModelNotFoundError",
    "MultiStore",
    "NativeTurn",
    "OpenTelemetrySink",
    "Operation",
    "OverloadedError",
    "PluginSettings",
    "PolicyError",
    "PriceBook",
    "PrometheusSink",
    "Provider",
    "ProviderChoice",
    "ProviderConfig",
    "ProviderError",
    "QuotaExceededError",
    "RateLimitError",
    "RetryConfig",
    "RoleConfig",
    "RouterClosedError",
    "RouterEvent",
    "RoutingContext",
    "RoutingPolicy",
    "SimpleRoutingPolicy",
    "SqliteTraceStore",
    "StreamChunk",
    "StreamConfig",
    "TargetHealth",
    "TokenLogprob",
    "ToolCall",
    "ToolCallDelta",
    "TraceReader",
    "TraceRecord",
    "TraceScanner",
    "TraceStore",
    "TraceStoreError",
    "UnavailableError",
    "UnknownFailureError",
    "UnrecordedRequestError",
    "WrapperProvider",
    "__version__",
    "audio_part",
    "file_part",
    "image_part",
    "load_config",
    "register",
    "register_alias",
    "register_policy",
    "register_sink",
    "register_state",
    "register_store",
    "tool_of",
]
