"""A file that a router reads again: a provider that answers when the test lets it, and a sink that counts its ends."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from lee_llm_router import LeeLLMRouter
from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.keys import KeyedConfig
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.settings.plugins import PluginSettings


class GateConfig(KeyedConfig):
    says: str = "?"
    fails: bool = False
    waits: bool = False


class Gate(Provider[GateConfig]):
    """Answers what its settings say; where they say so, only once the test lets it."""

    config_model = GateConfig
    entered = threading.Event()
    opened = threading.Event()
    closed: ClassVar[list[str]] = []
    asked: ClassVar[list[str]] = []

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        self.asked.append(self.name)
        if self.config.waits:
            self.entered.set()
            assert self.opened.wait(10)
        if self.config.fails:
            raise ProviderError("down")
        return LLMResponse(text=self.config.says)

    def close(self) -> None:
        self.closed.append(self.config.says)


class Sink:
    config_model = PluginSettings
    closed = 0

    def __init__(self, settings: PluginSettings) -> None:
        pass

    def emit(self, event: Any) -> None:
        pass

    def close(self) -> None:
        type(self).closed += 1


def text(provider: str = "says: one", role: str = "", rest: str = "") -> str:
    return (
        f"llm:\n  providers:\n    p: {{type: gate, {provider}}}\n    q: {{type: gate, says: spare}}\n"
        f"  roles:\n    r: {{provider: p, model: m, retry: {{attempts: 1, patience: 0}}{role}}}\n{rest}"
    )


def answer(router: LeeLLMRouter) -> str:
    return router.complete("r", "x").text
