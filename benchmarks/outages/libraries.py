"""The libraries that play the scenes: this router, litellm's Router and the openai SDK, retries set alike."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

from lee_llm_router import FailureType, LeeLLMRouter, LLMRouterError, RetryConfig, RouterEvent

ATTEMPTS = 6
MODEL = "m"
KEY = "sk-outage"
MESSAGES = [{"role": "user", "content": "hi"}]

ROUTER = "router, attempts 6"
DEFAULTS = "router, defaults"
IMPATIENT = "router, patience 0"
LITELLM = "litellm"
OPENAI = "openai"
OURS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {ROUTER: {"attempts": ATTEMPTS, "max_attempts": ATTEMPTS}, DEFAULTS: {}, IMPATIENT: {"patience": 0}}
)
"""The ways this router is set up, with the `retry` section of each."""
PEERS = {LITELLM: "litellm", OPENAI: "openai"}
"""The other libraries, with the module that must be installed."""


def installed_peers() -> list[str]:
    """Return the other libraries that can be measured here."""
    return [name for name, module in PEERS.items() if importlib.util.find_spec(module) is not None]


def can_be_impatient() -> bool:
    """Whether this router has the setting `retry.patience`."""
    return "patience" in RetryConfig.model_fields


class BreakerLog:
    """An event sink that notes when a circuit breaker opened, by the monotonic clock."""

    def __init__(self) -> None:
        self.opened: list[float] = []

    def emit(self, event: RouterEvent) -> None:
        """Note the time of a `breaker.open` event."""
        if event.event == "breaker.open":
            self.opened.append(time.monotonic())


@dataclass
class Library:
    """A library set up for one scene."""

    ask: Callable[[], str | None]
    ask_async: Callable[[], Awaitable[str | None]]
    breaker: BreakerLog = field(default_factory=BreakerLog)
    closing: ExitStack = field(default_factory=ExitStack)


def set_up(name: str, url: str, spare: str | None) -> Library:
    """Set up the library `name` for the server at `url`, with the fallback `spare` if there is one."""
    if name in OURS:
        return _router(OURS[name], url, spare)
    return _litellm(url, spare) if name == LITELLM else _openai(url)


def _router(retry: Mapping[str, Any], url: str, spare: str | None) -> Library:
    providers: dict[str, Any] = {"main": {"type": "http", "base_url": url}}
    role: dict[str, Any] = {"provider": "main", "model": MODEL, "retry": dict(retry)}
    if spare is not None:
        providers["spare"] = {"type": "http", "base_url": spare}
        role["fallback_providers"] = ["spare"]
    config = {"llm": {"providers": providers, "roles": {"r": role}}}
    breaker, closing = BreakerLog(), ExitStack()
    router = closing.enter_context(LeeLLMRouter(config, trace_store=False, event_sink=breaker))

    async def ask_async() -> str:
        return (await router.complete_async("r", "hi")).text

    return Library(lambda: router.complete("r", "hi").text, ask_async, breaker, closing)


def _litellm(url: str, spare: str | None) -> Library:
    litellm = import_module("litellm")
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{where}/v1", "api_key": KEY},
        }
        for name, where in (("main", url), ("spare", spare))
        if where is not None
    ]
    fallbacks = [{"main": ["spare"]}] if spare is not None else []
    router = litellm.Router(model_list=models, fallbacks=fallbacks, num_retries=ATTEMPTS - 1)

    def ask() -> str | None:
        return _text(router.completion(model="main", messages=MESSAGES))

    async def ask_async() -> str | None:
        return _text(await router.acompletion(model="main", messages=MESSAGES))

    return Library(ask, ask_async)


def _openai(url: str) -> Library:
    """The vendor's SDK: retries, but no fallbacks."""
    openai = import_module("openai")
    options: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": KEY, "max_retries": ATTEMPTS - 1}
    asked: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
    blocking = openai.OpenAI(**options)
    made: list[Any] = []

    async def ask_async() -> str | None:
        if not made:
            made.append(openai.AsyncOpenAI(**options))
        return _text(await made[0].chat.completions.create(**asked))

    return Library(lambda: _text(blocking.chat.completions.create(**asked)), ask_async)


def _text(answer: Any) -> str | None:
    text: str | None = answer.choices[0].message.content
    return text


def reason(error: BaseException) -> str:
    """Say why a call was lost, in words that are the same for losses of the same kind."""
    if isinstance(error, LLMRouterError):
        status = "" if error.status_code is None else f" {error.status_code}"
        said = f"{error.failure_type}{status}: {error.message}"
    else:
        said = f"{type(error).__name__}: {error}"
    said = " ".join(said.replace("127.0.0.1", "server").split())
    return re.sub(r"\d+\.\d+|(?<=server:)\d+", "#", said)[:160]


def names_its_reason(error: BaseException) -> bool:
    """Whether an error of this router says what happened: a known type, a sentence, and a record of every attempt."""
    return (
        isinstance(error, LLMRouterError)
        and error.failure_type is not FailureType.UNKNOWN
        and bool(error.message)
        and bool(error.attempts)
    )
