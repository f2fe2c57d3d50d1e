"""Writes requests: their path, and the body without the details of messages. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.gemini.contents import written
from lee_llm_router.providers.http.dialects.gemini.lessons import schema_name
from lee_llm_router.providers.http.dialects.gemini.models import ModelTraits
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig
from lee_llm_router.providers.http.dialects.gemini.tools import foreign_tool, json_schema, tools_of
from lee_llm_router.providers.json_schema import json_instructions, json_schema_of
from lee_llm_router.response.types import LLMRequest

MAX_STOPS = 5
"""Most stop sequences."""
_FOLDERS = ("models", "tunedModels", "projects", "publishers", "endpoints", "locations")
"""Prefixes of a model's name that is a path."""
_SEGMENT = re.compile(r"[^/]*[^/.][^/]*")
_OPTIONS = (
    ("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK"), ("max_tokens", "maxOutputTokens"),
    ("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty"),
)  # fmt: skip
_FILLED_IN = frozenset({"generationConfig", "thinkingConfig", "toolConfig", "functionCallingConfig"})
"""Objects of the body that `extra_body` merges into; its other values replace what is there."""
_FOREIGN_TIERS = frozenset({"fast", "scale", "batch", "standard_only", "on_demand", "performance"})
"""Other vendors' tiers that Google does not have."""
_TIERS = {"default": "standard"}
"""Other vendors' words for a tier."""


def model_of(request: LLMRequest, settings: GeminiConfig) -> str:
    """Return the model to ask.

    Raises:
        InvalidRequestError: none is named.
    """
    model = request.model or settings.model
    if not model:
        raise InvalidRequestError("a model must be named: it is a part of the address", sent=False)
    return model


def path_of(model: str) -> str:
    """Return the path of a model, after the base URL. Its name may be a path itself: ``tunedModels/mine``."""
    if "/" in model:
        segments = model.strip("/").split("/")
        if segments[0] in _FOLDERS and all(map(_SEGMENT.fullmatch, segments)):
            return "/" + "/".join(quote(segment, safe="") for segment in segments)
    return f"/models/{quote(model, safe='')}"


def body_of(request: LLMRequest, settings: GeminiConfig) -> dict[str, Any]:
    """Return the body of `request`, without `extra_body`. Unset options are not sent.

    Raises:
        InvalidRequestError: it cannot be written.
    """
    model = model_of(request, settings)
    traits = settings.traits_of(model)
    tools, tool_config = tools_of(request, traits)
    generation = _generation_config(request, traits)
    words = None
    if request.wants_json:
        form = _json_form(request, traits, has_tools=tools is not None)
        words = json_instructions(request) if form is None or (request.schema is not None and len(form) == 1) else None
        generation.update(form or {})
    said = written(request.messages, traits, settings.base_url, model, more_system=words)
    body: dict[str, Any] = {"contents": said.contents}
    if said.system:
        body["systemInstruction"] = {"parts": said.system}
    if tools is not None:
        body["tools"] = tools
    if tool_config is not None:
        body["toolConfig"] = tool_config
    if generation:
        body["generationConfig"] = generation
    if request.service_tier is not None and request.service_tier != "auto":
        body["serviceTier"] = _TIERS.get(request.service_tier, request.service_tier)
    if said.continuation is not None:
        body["continuationToken"] = said.continuation
    return body


def _generation_config(request: LLMRequest, traits: ModelTraits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, name in _OPTIONS:
        value = getattr(request, option)
        if value is not None:
            found[name] = value
    if request.stop:
        found["stopSequences"] = list(request.stop)
    if request.seed is not None:
        found["seed"] = _as_int32(request.seed)
    if request.logprobs or request.top_logprobs is not None:
        found["responseLogprobs"] = True
        if request.top_logprobs:
            found["logprobs"] = request.top_logprobs
    if request.reasoning_effort is not None and traits.thinks:
        found["thinkingConfig"] = traits.thinking(request.reasoning_effort)
    return found


def _json_form(request: LLMRequest, traits: ModelTraits, *, has_tools: bool) -> dict[str, Any] | None:
    """Return the fields that restrict an answer to JSON, as far as the model accepts them; None if it accepts none."""
    if not (traits.takes_schema_with_tools if has_tools else traits.takes_json):
        return None
    form: dict[str, Any] = {"responseMimeType": "application/json"}
    if request.schema is not None and "schema" not in traits.refused:
        schema = json_schema(json_schema_of(request.schema))
        if not traits.refused or schema_name(schema) not in traits.refused:
            form["responseJsonSchema"] = schema
    return form


def _as_int32(seed: int) -> int:
    """Return a seed of 32 bits, as the API requires: always the same for the same seed."""
    return seed if -(2**31) <= seed < 2**31 else seed % 2**31


def unsupported(request: LLMRequest, settings: GeminiConfig) -> dict[str, str]:
    """Return the options of `request` that its model does not accept: each field's name, with the reason."""
    found: dict[str, str] = {}
    if request.parallel_tool_calls is False:
        found["parallel_tool_calls"] = "Gemini cannot be told to call one tool at a time"
    if request.stop and len(request.stop) > MAX_STOPS:
        found["stop"] = f"Gemini takes {MAX_STOPS} stop sequences at most"
    foreign = foreign_tool(request.tools) if request.tools else None
    if foreign is not None:
        found["tools"] = f"a tool of the type {foreign} is not Gemini's"
    if request.service_tier in _FOREIGN_TIERS:
        found["service_tier"] = "Gemini has no such tier: flex, standard, priority"
    penalties = request.frequency_penalty is not None or request.presence_penalty is not None
    if not penalties and request.reasoning_effort is None:
        return found
    traits = settings.traits_of(request.model or settings.model or "")
    for option in ("frequency_penalty", "presence_penalty"):
        if getattr(request, option) is not None and not traits.takes_penalties:
            found[option] = "models from Gemini 4 on take no penalties"
    if request.reasoning_effort not in (None, "none") and not traits.thinks:
        found["reasoning_effort"] = f"{traits.name or 'the model'} cannot be told how much to think"
    return found


def with_extra(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Merge a caller's own fields into `body`: objects are merged, `tools` are appended, other fields are replaced.

    Fields may be in snake case, as in Google's SDK; the API accepts both.
    """
    for name, value in extra.items():
        camel = _camel(name)
        key = camel if camel in body or camel in _FILLED_IN else name
        known = body.get(key)
        if key in _FILLED_IN and isinstance(value, Mapping):
            body[key] = dict(known) if isinstance(known, Mapping) else {}
            with_extra(body[key], value)
        elif key == "tools" and isinstance(known, list) and isinstance(value, (list, tuple)):
            body[key] = [*known, *value]
        else:
            body[key] = value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest) if first and rest else name
