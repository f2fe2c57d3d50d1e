"""What tests of batches share: a router whose answers are a function, and the lines of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lee_llm_router import LeeLLMRouter
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.wrapper import WrapperProvider
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage, message_text

Answer = Callable[[str], Any]


class Asked:
    """Builds routers whose one role answers by a function, and keeps what was asked."""

    def __init__(self, answer: Answer = str.upper) -> None:
        self.answer = answer
        self.prompts: list[str] = []
        self.requests: list[LLMRequest] = []

    def router(self, *, role: dict[str, Any] | None = None, **options: Any) -> LeeLLMRouter:
        config = {
            "llm": {
                "default_role": "r",
                "providers": {"p": {"type": "mock"}, "q": {"type": "mock"}},
                "roles": {"r": {"provider": "p", "model": "m", **(role or {})}},
                **options.pop("llm", {}),
            }
        }
        return LeeLLMRouter(config, **{"trace_store": False, "wrap_provider": self._wrapped, **options})

    def _wrapped(self, inner: Provider[Any]) -> Provider[Any]:
        return _Asking(inner, self)


class _Asking(WrapperProvider):
    def __init__(self, inner: Provider[Any], asked: Asked) -> None:
        super().__init__(inner)
        self._asked = asked

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        prompt = message_text(request.messages[-1])
        self._asked.prompts.append(prompt)
        self._asked.requests.append(request)
        answer = self._asked.answer(prompt)
        if hasattr(answer, "__await__"):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        usage = LLMUsage(prompt_tokens=2, completion_tokens=1, total_tokens=3)
        return answer if isinstance(answer, LLMResponse) else LLMResponse(text=answer, usage=usage, cost_usd=0.5)


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def texts(path: Path) -> dict[str, str]:
    """The answers of an output, by id. Each id may be there once."""
    found = lines(path)
    by_id = {line["id"]: line["text"] for line in found}
    assert len(by_id) == len(found)
    return by_id
