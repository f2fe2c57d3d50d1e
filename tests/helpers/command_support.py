"""What the tests of the provider `command` share: programs, and ways to ask them."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from lee_llm_router import LLMRequest, LLMResponse, LLMRouterError
from lee_llm_router.providers.command import CommandConfig, CommandProvider

HANG = 60.0
"""Seconds after which a run counts as hanging; none comes near."""
KEY = "key-value-0123456789"


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def provider(code: str, *words: Any, **settings: Any) -> CommandProvider:
    """Return a provider whose program is this Python code, called with `words`."""
    argv = [sys.executable, "-IS", "-c", escaped(code), *words]
    return CommandProvider("mine", CommandConfig(argv=argv, **settings))


def ask(*messages: Any, **options: Any) -> LLMRequest:
    found = tuple({"role": "user", "content": one} if isinstance(one, str) else one for one in messages or ("hello",))
    return LLMRequest(messages=found, **{"model": "m", **options})


def complete(subject: CommandProvider, *messages: Any, timeout: float = HANG, **options: Any) -> LLMResponse:
    return subject.complete(ask(*messages, **options), timeout)


def failure(subject: CommandProvider, *messages: Any, timeout: float = HANG, **options: Any) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        complete(subject, *messages, timeout=timeout, **options)
    return caught.value


def printing(*values: Any, **settings: Any) -> CommandProvider:
    """Return a provider whose program prints these values, each as JSON on a line; text as it is."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in values]
    return provider(f"import sys; sys.stdout.write({chr(10).join(lines)!r})", **settings)


def failing(code: int, stderr: str = "", stdout: str = "", **settings: Any) -> CommandProvider:
    return provider(
        f"import sys; sys.stdout.write({stdout!r}); sys.stderr.write({stderr!r}); sys.exit({code})", **settings
    )
