"""What a server teaches by refusing: options and forms that one of its models does not accept. Pure.

Model names tell much (`models`), but not everything: which levels of thinking a new model has, whether a gateway knows
a field. `LearningProvider` explains what happens to options that a 400 names as unknown. A refused form of this dialect
(a level of thinking, a schema, separate instructions, ids of calls) is replaced by the next one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from pydantic_core import from_json, to_json

from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import read_error

OPTIONS = frozenset({
    "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "service_tier", "top_k", "seed",
    "reasoning_effort",
})  # fmt: skip
"""Options of a request that a model may refuse."""
_NOTHING: frozenset[str] = frozenset()
_LONGEST_ERROR = 1_000_000
_READ = 8192
"""Characters to read of an error."""

_REFUSAL = re.compile(
    r"not (?:\w+ ){0,2}(?:supported|available|permitted|allowed|enabled|recogni[sz]ed|known|accepted|compatible)"
    r"|(?:not|n't) (?:\w+ )?(?:support|allow|accept|recogni[sz]e)\b"
    r"|un(?:supported|available|known|recogni[sz]ed|expected)|disabled|cannot find field"
    r"|exceeds the maximum|too (?:many|deep|complex|large)"
)
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_LEVEL = re.compile(r"thinking[ _]?level\W{0,3}(minimal|low|medium|high|xhigh)\b")
_BUDGET = re.compile(r"budget\b.{0,120}?between\s+(-?\d{1,7})\s+and\s+(\d{1,7})\b", re.DOTALL)
_ALWAYS_THINKS = re.compile(r"only works in thinking mode|thinking (?:can ?not|can't) be (?:disabled|turned off)")
_NAMES: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "penalties": r"penalt(?:y|ies)",
        "logprobs": r"log_?probs|log probabilit",
        "service_tier": r"service_?\s?tier",
        "top_k": r"\btop_?k\b",
        "seed": r"\bseed\b",
        "thinking": r"\bthinking\b(?!.{0,3}(?:level|budget))|thinking_?config",
        "system": r"(?:developer|system)[ _]?instructions?",
        "json with tools": r"function call.{0,60}mime|mime.{0,60}function call",
        "json": r"json mode|response_?\s?mime_?\s?type",
        "schema": r"response_?json_?schema|response_?schema",
        "schema too complex": r"\bschema\b.{0,160}(?:nesting|depth|states|complex|large)|too many states",
        "parameters": r"parameters_?json_?schema",
        "media in results": r"multimodal function response|function_?response.{0,40}\bparts\b",
        "ids": r"unknown name ['\"`]id['\"`]",
    }.items()
}
"""What an error may name, with the words for it."""
_NARROWER = {"json": "json with tools", "schema": "schema too complex"}
"""Names that do not count if a more specific one matches."""


def refused_in(reply: HTTPReply) -> frozenset[str]:
    """Return the options and forms that an error refuses; none unless it is a 400 and names something in the
    request."""
    if reply.status not in (400, 422) or len(reply.body) > _LONGEST_ERROR:
        return _NOTHING
    try:
        error = read_error(from_json(reply.body), reply.now)
    except ValueError:
        return _NOTHING
    asked = _asked(reply.asked)
    text = "\n".join((*error.texts, *error.params))[:_READ].lower()
    found = {"budget 128 32768"} if "budget" in asked and _ALWAYS_THINKS.search(text) else set[str]()
    text = _ALWAYS_THINKS.sub("", text)
    for sentence in _SENTENCES.split(text):
        if _REFUSAL.search(sentence):
            named = {name for name, words in _NAMES.items() if words.search(sentence)}
            found |= {name for name in named if _NARROWER.get(name) not in named}
            found |= {f"level {level}" for level in _LEVEL.findall(sentence)}
    found = {name for name in found if name in asked or name.startswith("budget ")}
    if "budget" in asked and (budget := _BUDGET.search(text)):
        found.add(f"budget {budget[1]} {budget[2]}")
    if "schema too complex" in found:
        found.remove("schema too complex")
        found.add(schema_name(reply.asked["generationConfig"]["responseJsonSchema"]))
    return frozenset(_spelt_out(found))


def schema_name(schema: Any) -> str:
    """Return the name of a schema that a server finds too complex, since another schema may be fine."""
    return f"schema {blake2b(to_json(schema), digest_size=8).hexdigest()}"


def _spelt_out(found: set[str]) -> set[str]:
    """Return `found` with the names of request options instead of the words for them."""
    spelt = {"penalties": {"frequency_penalty", "presence_penalty"}, "logprobs": {"logprobs", "top_logprobs"},
             "thinking": {"reasoning_effort"}}  # fmt: skip
    return {option for name in found for option in spelt.get(name, {name})}


def _asked(body: Mapping[str, Any]) -> set[str]:
    """Return the options and forms in a body: errors can mean no others."""
    generation = body.get("generationConfig") or {}
    thinking = generation.get("thinkingConfig") or {}
    present = {
        "penalties": "presencePenalty" in generation or "frequencyPenalty" in generation,
        "logprobs": "responseLogprobs" in generation, "top_k": "topK" in generation, "seed": "seed" in generation,
        "service_tier": "serviceTier" in body, "thinking": bool(thinking),
        "budget": "thinkingBudget" in thinking, f"level {str(thinking.get('thinkingLevel')).lower()}": bool(thinking),
        "system": "systemInstruction" in body, "json": "responseMimeType" in generation,
        "json with tools": "responseMimeType" in generation and "tools" in body,
        "schema": "responseJsonSchema" in generation, "schema too complex": "responseJsonSchema" in generation,
        "parameters": "tools" in body, "media in results": True, "ids": True,
    }  # fmt: skip
    return {name for name, is_there in present.items() if is_there}
