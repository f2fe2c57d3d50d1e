"""Bodies that the dialect of the Responses API writes, each taken by a server that refuses what OpenAI refuses."""

from __future__ import annotations

from typing import Any

from helpers.responses_support import answer, message, response
from helpers.servers import Server, answering
from helpers.stream_support import router_to
from helpers.strict_openai_responses import check
from helpers.support import Memory
from lee_llm_router.providers.http.dialects.openai_responses.dialect import ResponsesDialect
from lee_llm_router.providers.http.dialects.openai_responses.provider import OpenAIResponsesProvider
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.response import LLMRequest

OPENAI = "https://api.openai.com/v1"
HI = ({"role": "user", "content": "hi"},)
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER: dict[str, Any] = {"type": "function", "function": {
    "name": "weather", "description": "Tells it.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}  # fmt: skip


def body_of(
    *messages: Any, model: str = "gpt-6", config: dict[str, Any] | None = None, stream: bool = False, **options: Any
) -> dict[str, Any]:
    """The body of a request, which the vendor takes."""
    body = unchecked_body(*messages, model=model, config=config, stream=stream, **options)
    problem = check(body, "/v1/responses", {})
    assert problem is None, f"{problem}: {body}"
    return body


def unchecked_body(
    *messages: Any, model: str = "gpt-6", config: dict[str, Any] | None = None, stream: bool = False, **options: Any
) -> dict[str, Any]:
    settings = ResponsesConfig(type="openai_responses", **{"base_url": OPENAI, **(config or {})})
    provider = OpenAIResponsesProvider("p", settings)
    request = LLMRequest(messages=messages or HI, model=model, **options)
    body = ResponsesDialect().encode(request, settings, stream=stream)
    for extra in (settings.extra_body, request.extra_body):
        provider.add_extra(body, extra)
    return body


def input_of(*messages: Any, **options: Any) -> Any:
    return body_of(*messages, **options)["input"]


def chat_call(call_id: Any, name: Any = "f", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked_of(*messages: Any, settings: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    """What a router sends when it asks once."""
    with Server(answering(answer(response(message("x"))))) as server:
        router = router_to(server.url, memory=Memory(), type="openai_responses", **(settings or {}))
        with router:
            router.complete("r", list(messages or HI), **options)
        return [one.json for one in server.requests]
