"""Writes a request as the body of Anthropic's Messages API. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.anthropic.blocks import Block
from lee_llm_router.providers.http.dialects.anthropic.lessons import Lesson
from lee_llm_router.providers.http.dialects.anthropic.messages import Written, plain_messages, usual_loop
from lee_llm_router.providers.http.dialects.anthropic.models import is_claude, is_older, model_of
from lee_llm_router.providers.http.dialects.anthropic.schema import output_schema
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.dialects.anthropic.thinking import thinking_fields
from lee_llm_router.providers.http.dialects.anthropic.tools import choice_of, tools_of
from lee_llm_router.providers.http.settings import server_of
from lee_llm_router.providers.json_schema import json_instructions, json_schema_of
from lee_llm_router.response.details import native_origin
from lee_llm_router.response.types import LLMRequest

MAX_MARKS = 4
"""Cache marks that one request may have."""
_SERVICE_TIERS = {"default": "standard_only", "standard": "standard_only", "priority": "auto"}
"""The vendor's words for other vendors' tiers."""


def body_of(request: LLMRequest, settings: AnthropicConfig, *, stream: bool) -> dict[str, Any]:
    """Return the body of `request`, without `extra_body`.

    Raises:
        InvalidRequestError: the schema is no JSON Schema, or `extra_body` asks for a stream.
    """
    if "stream" in request.extra_body:
        raise InvalidRequestError("extra_body must not set stream: it decides how answers are read", sent=False)
    model = model_of(request, settings)
    lesson = settings.lesson
    body: dict[str, Any] = {}
    if settings.platform == "vertex":
        body["anthropic_version"] = settings.version
    elif model is not None:
        body["model"] = model
    body["max_tokens"] = max_tokens = request.max_tokens or bound_of(settings, lesson)
    schema = _schema_of(request, settings, lesson)
    tools, marked = tools_of(request.tools or (), request.tool_choice, strict="strict" not in lesson.refused)
    written: Written | None = None
    system: str | list[Block]
    # Without tools, a conversation with calls needs some; with thinking, the origin of calls matters.
    is_loop = tools and request.reasoning_effort is None
    plain = plain_messages(request.messages) or (usual_loop(request.messages) if is_loop else None)
    if plain is not None:
        system, body["messages"] = plain
    else:
        written = _written(request, settings, lesson, marked, cite=settings.cite_documents and schema is None)
        system, body["messages"], marked = written.system, written.messages, written.marked
    if system:
        body["system"] = system
    _add_tools(body, request, tools, written)
    if marked and "cache_control" not in lesson.refused:
        _set_marks(marked, settings, request)
    # Other vendors' servers silently ignore what they do not know.
    if request.wants_json and (schema is None or not is_claude(model, settings)):
        _add_instructions(body, json_instructions(request))
    body.update(_options(request))
    body.update(thinking_fields(request, settings, lesson, max_tokens, written))
    if schema is not None:
        body["output_config"] = {**body.get("output_config", {}), "format": {"type": "json_schema", "schema": schema}}
    if settings.auto_cache and "cache_control" not in lesson.refused:
        body["cache_control"] = _mark(settings)
    if stream:
        body["stream"] = True
    return body


def bound_of(settings: AnthropicConfig, lesson: Lesson) -> int:
    """Return the token limit if the request has none."""
    known = lesson.max_tokens
    return settings.default_max_tokens if known is None else min(known, settings.default_max_tokens)


def origin_of(settings: AnthropicConfig, model: str | None) -> str:
    """Return the origin whose answers may go back to `model`, in the form of `native_origin`."""
    return native_origin(server_of(settings.base_url), model)


def tier_of(service_tier: str) -> str:
    """Return a service tier in the vendor's words."""
    return _SERVICE_TIERS.get(service_tier, service_tier)


def _written(
    request: LLMRequest, settings: AnthropicConfig, lesson: Lesson, marked: Sequence[Block], *, cite: bool
) -> Written:
    """Return the messages of `request` in the API's form."""
    model = model_of(request, settings)
    is_thinking = request.reasoning_effort not in (None, "none")
    return Written(
        request.messages,
        origin=origin_of(settings, model),
        may_begin_answer=is_older(model, settings) and "prefill" not in lesson.refused and not is_thinking,
        cite=cite,
        marked=marked,
    )


def _add_tools(body: dict[str, Any], request: LLMRequest, tools: list[Block], written: Written | None) -> None:
    """Put the tools and the choice among them into `body`."""
    choice = choice_of(request.tool_choice, request.parallel_tool_calls)
    if not tools and written is not None and written.calls:
        # The API requires the tools of a conversation with tool calls, even if none may be called any more.
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in dict.fromkeys(written.tool_names())]
        choice = {"type": "none"}
    if tools:
        body["tools"] = tools
        if choice is not None:
            body["tool_choice"] = choice


def _set_marks(marked: Sequence[Block], settings: AnthropicConfig, request: LLMRequest) -> None:
    """Mark the last blocks worth caching: there is room for a few."""
    is_automatic = settings.auto_cache or "cache_control" in {**settings.extra_body, **request.extra_body}
    for block in marked[-(MAX_MARKS - is_automatic) :]:
        block["cache_control"] = _mark(settings)


def _mark(settings: AnthropicConfig) -> dict[str, str]:
    return {"type": "ephemeral"} if settings.cache_ttl == "5m" else {"type": "ephemeral", "ttl": settings.cache_ttl}


def _schema_of(request: LLMRequest, settings: AnthropicConfig, lesson: Lesson) -> dict[str, Any] | None:
    """Return the schema that the vendor enforces; None if the prompt asks for JSON, or nothing does."""
    if request.schema is None or settings.structured_output == "prompt" or lesson.refused & {"format", "output_config"}:
        return None
    return output_schema(json_schema_of(request.schema))


def _add_instructions(body: dict[str, Any], words: str) -> None:
    """Ask for JSON in words, at the end of the system text."""
    system = body.get("system")
    if isinstance(system, list):
        body["system"] = [*system, {"type": "text", "text": words}]
    else:
        body["system"] = f"{system}\n\n{words}" if system else words


def _options(request: LLMRequest) -> Iterable[tuple[str, Any]]:
    if request.temperature is not None:
        yield "temperature", request.temperature
    if request.top_p is not None:
        yield "top_p", request.top_p
    if request.top_k is not None:
        yield "top_k", request.top_k
    if request.stop:
        yield "stop_sequences", list(request.stop)
    tier = request.service_tier
    if tier == "fast":
        yield "speed", "fast"
    elif tier is not None:
        yield "service_tier", tier_of(tier)
