"""`LLMClient`: the older interface, which takes a role and messages and calls the router."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Unpack, overload

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.messages import Messages
from lee_llm_router.response.types import LLMResponse
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.routing.options import CallOptions, OptionsWithoutSchema, Schema, SchemaT
from lee_llm_router.routing.router_arguments import RouterArguments


class LLMClient:
    """Completes prompts by role. Its `router` is the `LeeLLMRouter` that does the work.

    Args:
        config: Passed to `LeeLLMRouter`, like all other arguments.
    """

    def __init__(
        self, config: LLMConfig | str | PathLike[str] | Mapping[str, Any], **options: Unpack[RouterArguments]
    ) -> None:
        self.router = LeeLLMRouter(config, **options)

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
        """Call `LeeLLMRouter.complete`."""
        return self.router.complete(role, messages, **overrides)

    def close(self) -> None:
        """Call `LeeLLMRouter.close`."""
        self.router.close()
