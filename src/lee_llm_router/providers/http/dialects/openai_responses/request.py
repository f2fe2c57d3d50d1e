"""Writes a request as the body of the Responses API. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.openai.options import nearest_effort
from lee_llm_router.providers.http.dialects.openai.structured_output import form_of, kind_of, with_instructions
from lee_llm_router.providers.http.dialects.openai_responses.input_items import input_items
from lee_llm_router.providers.http.dialects.openai_responses.models import known_model
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig, field_out_of_scope
from lee_llm_router.providers.json_schema import is_strict, json_schema_of, schema_name
from lee_llm_router.response.details import native_origin
from lee_llm_router.response.types import LLMRequest, Message, message_text

_ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
_TIERS = {"standard": "default", "standard_only": "default"}
"""Other vendors' words for a tier."""
_OF_ANTHROPIC = re.compile(r"_\d{8}$")
_ABOUT_TOOLS = ("auto", "none")


def body_of(request: LLMRequest, settings: ResponsesConfig, *, stream: bool) -> dict[str, Any]:
    """Return the body of `request`, without unset options, and without a model if none is named.

    Raises:
        InvalidRequestError: the schema is no JSON Schema, a message cannot be expressed, or `extra_body` uses a feature
            of this API that the router does not support.
    """
    extra = request.extra_body
    if extra and (problem := field_out_of_scope(extra)) is not None:
        raise InvalidRequestError(f"extra_body: {problem}", sent=False)
    model = request.model or settings.model
    messages: Sequence[Message] = request.messages
    text_format = None
    if request.wants_json:
        text_format, messages = _json_wanted(request, settings)
    marks = settings.cache_marks
    breakpoints = marks != "none" if marks is not None else settings.is_at_openai and known_model(model).breakpoints
    body: dict[str, Any] = {} if model is None else {"model": model}
    body["input"] = input_items(messages, origin_of(settings, model), breakpoints=breakpoints)
    body["store"] = False
    include = _include(request, settings, model)
    if include:
        body["include"] = include
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    if request.tools or request.tool_choice is not None or request.parallel_tool_calls is not None:
        _add_tools(body, request, settings)
    reasoning = _reasoning(request, settings, model)
    if reasoning:
        body["reasoning"] = reasoning
    if text_format is not None:
        body["text"] = {"format": text_format}
    if request.top_logprobs is not None:
        body["top_logprobs"] = request.top_logprobs
    if request.service_tier is not None:
        body["service_tier"] = _TIERS.get(request.service_tier, request.service_tier)
    if stream:
        body["stream"] = True
    return body


def origin_of(settings: ResponsesConfig, model: str | None) -> str:
    """Return the origin of answers of `model` from this server, as in `NativeTurn.origin`."""
    return native_origin(_host(settings.base_url), model)


@lru_cache(maxsize=256)
def _host(base_url: str) -> str:
    return urlsplit(base_url).netloc.lower()


def _include(request: LLMRequest, settings: ResponsesConfig, model: str | None) -> list[str]:
    found = []
    # A model known not to reason refuses a request for its reasoning.
    if settings.encrypted_reasoning and known_model(model).reasons is not False:
        found.append(_ENCRYPTED)
    if request.logprobs or request.top_logprobs is not None:
        found.append(_LOGPROBS)
    return found


def _reasoning(request: LLMRequest, settings: ResponsesConfig, model: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    effort = request.reasoning_effort
    if effort is not None:
        known = known_model(model)
        if known.reasons is False:  # only `none` is left here, and it does not think anyway
            return found
        found["effort"] = nearest_effort(effort, settings.reasoning_efforts or known.efforts)
    if settings.reasoning_summary is not None:
        found["summary"] = settings.reasoning_summary
    return found


def _add_tools(body: dict[str, Any], request: LLMRequest, settings: ResponsesConfig) -> None:
    has_tools = bool(request.tools) or "tools" in request.extra_body or "tools" in settings.extra_body
    if request.tools:
        body["tools"] = [_flat_tool(tool) for tool in request.tools]
    choice = request.tool_choice
    # Both mean nothing without tools; but a tool that must be called would be missing.
    if choice is not None and (has_tools or choice not in _ABOUT_TOOLS):
        body["tool_choice"] = _flat_choice(choice)
    if request.parallel_tool_calls is not None and has_tools:
        body["parallel_tool_calls"] = request.parallel_tool_calls


def _flat_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool in this API's form: what chat completions nest under `function` is in the tool itself."""
    kind = tool.get("type", "function")
    inner = tool.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, Mapping):
        inner = tool
    if kind == "function":
        found = {name: value for name, value in inner.items() if name != "type"}
        found.setdefault("parameters", {"type": "object", "properties": {}})
        # By default, functions are strict in this API, but not in chat completions.
        if found.get("strict") is None:
            found["strict"] = False
        return {"type": "function", **found}
    if kind != "custom" or inner is tool:
        return tool  # the API's own
    form = inner.get("format")
    if isinstance(form, Mapping) and isinstance(form.get("grammar"), Mapping):
        return {"type": kind, **inner, "format": {"type": "grammar", **form["grammar"]}}
    return {"type": kind, **inner}


def foreign_tool(tools: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the name of the first tool that another vendor runs on its own servers; None if there is none."""
    for tool in tools:
        kind = tool.get("type")
        if isinstance(kind, str) and _OF_ANTHROPIC.search(kind):
            return kind
        if kind is None and not tool.keys() & {"function", "name"}:  # Gemini's have no type
            return next(iter(tool), "empty")
    return None


def _flat_choice(choice: str | Mapping[str, Any]) -> Any:
    """Return the tool choice in this API's form."""
    if not isinstance(choice, Mapping):
        return choice
    kind = choice.get("type")
    inner = choice.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, Mapping):
        return choice
    flat = {"type": kind, **inner}
    if kind == "allowed_tools" and isinstance(flat.get("tools"), Sequence):
        flat["tools"] = [_flat_choice(tool) for tool in flat["tools"]]
    return flat


def _json_wanted(request: LLMRequest, settings: ResponsesConfig) -> tuple[dict[str, Any] | None, Sequence[Message]]:
    """Return the `text.format` of `request` and its messages, with a prompt for JSON if one is needed."""
    form = form_of(kind_of(request), settings.structured_output)
    if form == "prompt":
        return None, with_instructions(request.messages, request)
    if form == "json_object":
        # Without a schema there is little to describe; but the API refuses a request that does not mention JSON.
        in_words = request.schema is not None or not any("json" in message_text(m).lower() for m in request.messages)
        return {"type": form}, with_instructions(request.messages, request) if in_words else request.messages
    schema = json_schema_of(request.schema)
    return {"type": form, "name": schema_name(schema), "schema": schema, "strict": is_strict(schema)}, request.messages
