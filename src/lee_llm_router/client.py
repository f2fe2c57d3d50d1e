"""`LLMClient`: the older two-argument face over the same router."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Unpack

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.messages import Messages
from lee_llm_router.response import LLMResponse
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.routing.options import CallOptions


class LLMClient:
    """Completes prompts by role. `router` is the `LeeLLMRouter` that does it.

    Args:
        config: As for `LeeLLMRouter`.
        **options: As for `LeeLLMRouter`.
    """

    def __init__(self, config: LLMConfig | str | PathLike[str] | Mapping[str, Any], **options: Any) -> None:
        self.router = LeeLLMRouter(config, **options)

    def complete(self, role: str | None, messages: Messages, **overrides: Unpack[CallOptions]) -> LLMResponse:
        """As `LeeLLMRouter.complete`."""
        return self.router.complete(role, messages, **overrides)

    def close(self) -> None:
        """As `LeeLLMRouter.close`."""
        self.router.close()
