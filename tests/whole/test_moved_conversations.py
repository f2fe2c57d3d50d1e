"""Conversations that survive a fallback: a tool loop begun at one vendor goes on at another, and comes back.

The servers refuse with 400 what the vendors refuse: unknown fields, roles out of order, ids that are not theirs or not
answered, empty texts, signatures that are missing, changed, or from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import pytest

from helpers import strict_anthropic, strict_gemini, strict_openai_chat, strict_openai_responses
from helpers.servers import Received, Server, answering_by, http, json_answer
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMResponse, image_part

DIALECTS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "http": (strict_openai_chat, {"model": "m-1"}),
    "openai_responses": (strict_openai_responses, {"model": "gpt-5.4"}),
    "anthropic": (strict_anthropic, {"model": "claude-sonnet-5"}),
    "gemini": (strict_gemini, {"model": "gemini-3-pro"}),
}
PATTERNS = ["aba", "abb", "aab", "bab"]
"""Who answers each turn; the chain is a, then b."""


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}


CITY = {"city": {"type": "string"}}
TOOLS = [tool("get_weather", **CITY), tool("weather", **CITY), tool("get_time"), tool("time"), tool("look", **CITY)]
TOOLS.append(tool("look_up", **CITY))


class Loop:
    """Two servers, and the turn that the conversation is at."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.turn = 1
        self.problems: list[str] = []
        self.states: dict[str, dict[str, Any]] = {"a": {}, "b": {}}

    def script(self, name: str, dialect: ModuleType) -> Any:
        state = self.states[name]

        def answer(received: Received) -> bytes:
            path = received.line.split(" ")[1]
            body = json.loads(received.body)
            problem = dialect.check(body, path, state)
            if problem is not None:
                self.problems.append(f"turn {self.turn} at {name}: {problem}")
                return json_answer({"error": {"message": problem}}, 400)
            if self.pattern[self.turn - 1] != name:
                return json_answer({"error": {"message": "overloaded"}}, 503)
            stream = bool(body.get("stream")) or "stream" in path
            kind = "text/event-stream" if stream else "application/json"
            given: bytes = dialect.answers(self.turn, stream, state)
            return given if given.startswith(b"HTTP/") else http(200, given, {"Content-Type": kind})

        return answering_by(answer)


@contextmanager
def chain(pattern: str, begun: str, other: str) -> Iterator[tuple[Loop, LeeLLMRouter, Memory]]:
    loop, memory = Loop(pattern), Memory()
    with ExitStack() as stack:
        providers: dict[str, Any] = {}
        for name, dialect in (("a", begun), ("b", other)):
            module, settings = DIALECTS[dialect]
            server = stack.enter_context(Server(loop.script(name, module)))
            providers[name] = {"type": dialect, "base_url": server.url, **settings}
        role = {"provider": "a", "fallback_providers": ["b"], "retry": {"attempts": 1}}
        config = {"llm": {"providers": providers, "roles": {"r": role}, "health": {"failures_in_a_row": 100}}}
        yield loop, stack.enter_context(LeeLLMRouter(config, trace_store=memory)), memory


def complete(router: LeeLLMRouter, messages: Any, options: Mapping[str, Any]) -> LLMResponse:
    return router.complete("r", messages, **options)


def stream(router: LeeLLMRouter, messages: Any, options: Mapping[str, Any]) -> LLMResponse:
    with router.stream("r", messages, **options) as chunks:
        list(chunks)
    assert chunks.response is not None
    return chunks.response


def stream_async(router: LeeLLMRouter, messages: Any, options: Mapping[str, Any]) -> LLMResponse:
    async def main() -> LLMResponse:
        async with router.stream_async("r", messages, **options) as chunks:
            async for _ in chunks:
                pass
        assert chunks.response is not None
        return chunks.response

    return asyncio.run(main())


def answered(response: LLMResponse, turn: int) -> list[dict[str, Any]]:
    """Return the message of an answer and the results of its calls: text, a picture, an error, none."""
    messages = [response.message]
    for number, call in enumerate(response.tool_calls):
        content: Any = f"result {turn}.{number}"
        message = {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": content}
        if (turn + number) % 2 == 0:
            message |= {"content": "it failed", "is_error": True}
        messages.append(message)
    return messages


@pytest.mark.parametrize("ask", [complete, stream, stream_async])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("other", DIALECTS)
@pytest.mark.parametrize("begun", DIALECTS)
def test_a_tool_loop_moves_to_another_vendor_and_back(begun: str, other: str, pattern: str, ask: Any) -> None:
    """No request is refused, each call has its result, and the loop ends in a text. Messages are stored as JSON."""
    options = {"tools": TOOLS, "reasoning_effort": "medium"}
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?", "cache": True}, image_part(b"GIF89a")]},
    ]
    with chain(pattern, begun, other) as (loop, router, memory):
        for loop.turn in (1, 2, 3):
            response = ask(router, messages, options)
            messages += json.loads(json.dumps(answered(response, loop.turn)))
            assert response.provider == pattern[loop.turn - 1]
            assert bool(response.tool_calls) is (loop.turn < 3), response
    assert loop.problems == []
    assert response.text and response.finish_reason == "stop"
    assert {record.failure_type for record in memory.records} <= {None, "OVERLOADED"}
