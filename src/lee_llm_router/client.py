"""`LLMClient`: the older interface, which takes a role and messages and calls the router."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, Literal, Unpack, overload

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.compression import Compressor
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.messages import Messages
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.providers.base import Provider
from lee_llm_router.response import LLMResponse
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.routing.options import CallOptions, OptionsWithoutSchema, Schema, SchemaT
from lee_llm_router.telemetry.following import AnyEventSink
from lee_llm_router.telemetry.records import TraceStore
from lee_llm_router.telemetry.reporter import TokenUsageHook


class LLMClient:
    """Completes prompts by role. Its `router` is the `LeeLLMRouter` that does the work.

    Args:
        config: Passed to `LeeLLMRouter`, as are all others.
    """

    def __init__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any],
        *,
        policy: RoutingPolicy | str | None = None,
        trace_store: TraceStore | Literal[False] | None = None,
        event_sink: AnyEventSink | Iterable[AnyEventSink] = (),
        on_token_usage: TokenUsageHook | None = None,
        compression: Compressor | Mapping[str, Compressor] | None = None,
        trace_dir: str | PathLike[str] | None = None,
        workspace: str | PathLike[str] | None = None,
        wrap_provider: Callable[[Provider[Any]], Provider[Any]] | None = None,
        redact: Callable[[str], str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.router = LeeLLMRouter(
            config, policy=policy, trace_store=trace_store, event_sink=event_sink, on_token_usage=on_token_usage,
            compression=compression, trace_dir=trace_dir, workspace=workspace, wrap_provider=wrap_provider,
            redact=redact, clock=clock, random=random,
        )  # fmt: skip

    @overload
    def complete(
        self,
        role: str | None,
        messages: Messages,
        *,
        schema: Schema[SchemaT],
        **overrides: Unpack[OptionsWithoutSchema],
    ) -> LLMResponse[SchemaT]: ...

    @overload
    def complete(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> LLMResponse: ...

    def complete(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> LLMResponse[Any]:
        """Do what `LeeLLMRouter.complete` does."""
        return self.router.complete(role, messages, **overrides)

    def close(self) -> None:
        """Do what `LeeLLMRouter.close` does."""
        self.router.close()
