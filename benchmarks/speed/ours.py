"""This router as a subject: over HTTP as users have it by default, and alone, over the mock provider."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import cycle
from typing import Any, Literal

from pydantic import BaseModel

from lee_llm_router import (
    LeeLLMRouter,
    LLMConfig,
    ProviderChoice,
    RoutingContext,
    SimpleRoutingPolicy,
    SqliteTraceStore,
    TraceRecord,
)
from speed.dialects import FORMATS
from speed.sinks import SINKS
from speed.subject import Made, Wanted
from speed.wire import KEY_NAME, MESSAGES, MODEL

MANY_AT_ONCE = 2000
MOCK_TEXT = "ok"
MOCK_JSON = '{"inhabitants":2000000}'
TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a city up in the register.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    """What an answer is checked against."""

    inhabitants: int


class ContextPolicy:
    """Looks at its context, then does as the simple one."""

    def choose(self, role: str, config: LLMConfig, *, context: RoutingContext) -> ProviderChoice:
        target = context.health.get((config.roles[role].provider, MODEL))
        assert target is None or target.state == "closed"
        return ProviderChoice(config.roles[role].provider)


class ObservingPolicy(SimpleRoutingPolicy):
    """Counts what has become of the attempts."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}

    def observe(self, record: TraceRecord) -> None:
        self.outcomes[record.outcome] = self.outcomes.get(record.outcome, 0) + 1


OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "tools": {"tools": [TOOL], "temperature": 0.2, "max_tokens": 300},
    "schema": {"schema": City, "temperature": 0.2, "max_tokens": 300},
}
MONEY: Mapping[str, Mapping[str, Any]] = {
    "cost": {"pricing": {"models": {f"*/{MODEL}": {"input": 1.25, "output": 10, "cached_input": 0.125}}}},
    "budget": {"budget": {"usd": 1e9, "per": "day"}},
}
"""What the file says of prices and budgets."""
POLICIES: Mapping[str, type[Any]] = {"context": ContextPolicy, "observe": ObservingPolicy}


def http_config(url: str, folder: str, transport: str, dialect: str | None = None) -> dict[str, Any]:
    """Two providers at the same server; retries, breaker, a limit, a fallback and traces are on."""
    form = None if dialect is None else FORMATS[dialect]
    provider: dict[str, Any] = {
        "type": form.type if form else "http", "base_url": f"{url}/v1", "api_key_env": KEY_NAME,
        "max_concurrency": MANY_AT_ONCE, "transport": transport,
    }  # fmt: skip
    model = form.model if form else MODEL
    role = {
        "provider": "main", "model": model, "temperature": 0.2,
        "fallback_providers": [{"provider": "spare", "model": model}],
    }  # fmt: skip
    return {"llm": {"providers": {"main": provider, "spare": provider}, "roles": {"r": role}, "trace": {"dir": folder}}}


def mock_config(folder: str, count: int, text: str = MOCK_TEXT) -> dict[str, Any]:
    """`count` providers and as many roles, each with the next provider as its fallback."""
    providers = {f"p{i}": {"type": "mock", "response_text": text} for i in range(count)}
    roles = {
        f"r{i}": {"provider": f"p{i}", "model": MODEL, "fallback_providers": [f"p{(i + 1) % count}"]}
        for i in range(count)
    }
    return {"llm": {"default_role": "r0", "providers": providers, "roles": roles, "trace": {"dir": folder}}}


def over_http(wanted: Wanted) -> Made:
    """A router with everything on. Its options are the setting `transport`, and a wire format if it is no chat."""
    made = Made()
    folder = made.closing.enter_context(tempfile.TemporaryDirectory())
    router = LeeLLMRouter(http_config(wanted.url, folder, *wanted.options))
    made.closing.callback(router.close)

    async def ask() -> str:
        return (await router.complete_async("r", MESSAGES)).text

    def ask_sync() -> str:
        return router.complete("r", MESSAGES).text

    async def stream() -> int:
        pieces = 0
        async with router.stream_async("r", MESSAGES) as chunks:
            async for chunk in chunks:
                pieces += bool(chunk.text)
        return pieces

    made.ask, made.ask_sync, made.stream = ask, ask_sync, stream
    return made


def alone(wanted: Wanted) -> Made:
    """A router over the mock provider.

    Options: "untraced" or "sqlite"; names of `MONEY`; a name of `SINKS`; "context" or "observe" for a policy;
    "tools" or "schema" for what each call overrides; "count=N" providers and roles; "all": each call asks the next
    role, instead of two in turn.
    """
    overrides = next((OVERRIDES[option] for option in wanted.options if option in OVERRIDES), {})
    parsed, text = (City, MOCK_JSON) if "schema" in overrides else (type(None), MOCK_TEXT)
    made = Made(expected=text)
    folder = made.closing.enter_context(tempfile.TemporaryDirectory())
    count = wanted.number("count") or 2
    policy = next((POLICIES[option]() for option in wanted.options if option in POLICIES), None)
    store: Literal[False] | SqliteTraceStore | None = False if "untraced" in wanted.options else None
    if "sqlite" in wanted.options:
        store = SqliteTraceStore(f"{folder}/traces.sqlite")
    sinks = [SINKS[option]() for option in wanted.options if option in SINKS]
    config = mock_config(folder, count, text)
    config["llm"] |= {part: settings for option in wanted.options for part, settings in MONEY.get(option, {}).items()}
    router = LeeLLMRouter(config, policy=policy, trace_store=store, event_sink=sinks)
    made.closing.callback(router.close)
    asked = range(count) if "all" in wanted.options else (count // 2, count - 1)
    roles = cycle([f"r{i}" for i in asked])

    async def ask() -> str:
        response = await router.complete_async(next(roles), MESSAGES, **overrides)
        assert type(response.parsed) is parsed
        return response.text

    def ask_sync() -> str:
        response = router.complete(next(roles), MESSAGES, **overrides)
        assert type(response.parsed) is parsed
        return response.text

    made.ask, made.ask_sync = ask, ask_sync
    return made
