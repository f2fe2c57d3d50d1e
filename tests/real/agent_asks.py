"""Requests for the real agents, and the failures that come of them."""

from __future__ import annotations

from typing import Any

import pytest

from lee_llm_router import LLMRequest, LLMRouterError
from lee_llm_router.providers.base import Provider
from real.processes import HANG


def ask(text: str = "hello", *system: str, **settings: Any) -> LLMRequest:
    """A request with messages of the system, and one of the user."""
    messages = [{"role": "system", "content": one} for one in system] + [{"role": "user", "content": text}]
    return LLMRequest(messages=tuple(messages), **{"model": "some-model", **settings})


def failure_of(subject: Provider[Any], request: LLMRequest, timeout: float = HANG) -> LLMRouterError:
    """What comes of a request that cannot be answered."""
    with pytest.raises(LLMRouterError) as caught:
        subject.complete(request, timeout)
    return caught.value
