"""What the tests of all providers that run a program share: requests, answers and failures in short form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from helpers.fake_agent import FakeAgent
from lee_llm_router import LLMRequest, LLMResponse, LLMRouterError
from lee_llm_router.providers.base import Provider

HANG = 60.0
"""Seconds after which a run counts as hanging; none comes near."""
KEY = "key-value-0123456789"
TOKEN = "token-value-0123456789"
FOREVER = "while True: time.sleep(9)"


def agent_settings(fake: FakeAgent, base_url: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a provider for a server of one's own. A setting of None is left out."""
    usual = {"command": str(fake.path), "base_url": base_url, "api_key_env": "LEE_TEST_KEY"}
    return {name: value for name, value in {**usual, **settings}.items() if value is not None}


def ask(*messages: Any, **options: Any) -> LLMRequest:
    """A request; a text is a message of the user."""
    found = tuple({"role": "user", "content": one} if isinstance(one, str) else one for one in messages or ("hello",))
    return LLMRequest(messages=found, **{"model": "m", **options})


def complete(subject: Provider[Any], *messages: Any, timeout: float = HANG, **options: Any) -> LLMResponse:
    """The answer to a request, or to the messages of one."""
    given = messages[0] if messages else None
    return subject.complete(given if isinstance(given, LLMRequest) else ask(*messages, **options), timeout)


def failure(subject: Provider[Any], *messages: Any, timeout: float = HANG, **options: Any) -> LLMRouterError:
    """The error that comes in place of an answer."""
    with pytest.raises(LLMRouterError) as caught:
        complete(subject, *messages, timeout=timeout, **options)
    return caught.value
