"""Reads the token usage in an answer of the Responses API. Pure."""

from __future__ import annotations

from typing import Any

from lee_llm_router._util.numbers import count
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.providers.http.dialects.openai.answers import usage_of as chat_usage_of
from lee_llm_router.response.types import LLMUsage, make_usage


def usage_of(usage: Any) -> LLMUsage | None:
    """Return the reported token counts. An impossible number counts as unreported; None means that nothing was
    reported."""
    if type(usage) is not dict:
        return None
    if "input_tokens" not in usage or "input_tokens_details" not in usage:
        # The server uses other names for the counts, or has another kind of cache.
        return chat_usage_of(usage)
    taken, given = mapping(usage["input_tokens_details"]), mapping(usage.get("output_tokens_details"))
    found = make_usage(
        prompt_tokens=count(usage["input_tokens"]),
        completion_tokens=count(usage.get("output_tokens")),
        total_tokens=count(usage.get("total_tokens")),
        cached_tokens=count(taken.get("cached_tokens")),
        cache_write_tokens=count(taken.get("cache_write_tokens")),
        reasoning_tokens=count(given.get("reasoning_tokens")),
    )
    return found or None
