"""Lee LLM Router: ask for a role, get a whole answer or one typed error, and a trace of every attempt."""

from lee_llm_router._clock import Clock
from lee_llm_router.client import LLMClient
from lee_llm_router.compression import Compressor
from lee_llm_router.config import FallbackConfig, LLMConfig, RetryConfig, RoleConfig, StreamConfig, load_config
from lee_llm_router.errors import (
    AuthenticationError,
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
)
from lee_llm_router.health import TargetHealth
from lee_llm_router.policy import ProviderChoice, RoutingContext, RoutingPolicy, SimpleRoutingPolicy
from lee_llm_router.providers.base import Capabilities, ChunkStream, Provider, ProviderConfig
from lee_llm_router.providers.registry import register, register_alias
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage, Message, StreamChunk, ToolCall, ToolCallDelta
from lee_llm_router.router import LeeLLMRouter, LLMRouter
from lee_llm_router.stores.jsonl import LocalFileTraceStore
from lee_llm_router.streaming import AsyncCompletionStream, CompletionStream
from lee_llm_router.telemetry import EventSink, RouterEvent, TraceRecord, TraceStore

__version__ = "0.1.0"

__all__ = [
    "AsyncCompletionStream",
    "AuthenticationError",
    "Capabilities",
    "ChunkStream",
    "Clock",
    "CompletionStream",
    "Compressor",
    "ConfigError",
    "ContentFilterError",
    "ContextLengthError",
    "ContractViolationError",
    "EventSink",
    "FailureType",
    "FallbackConfig",
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
    "OverloadedError",
    "PolicyError",
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
    "StreamChunk",
    "StreamConfig",
    "TargetHealth",
    "ToolCall",
    "ToolCallDelta",
    "TraceRecord",
    "TraceStore",
    "UnavailableError",
    "UnknownFailureError",
    "__version__",
    "load_config",
    "register",
    "register_alias",
]
