"""What a model's name says about the forms that it accepts. Pure.

Claude changed with version 4.6: since then models decide how much to think, and do not continue an answer begun for
them. The earlier models are a closed list; what a newer model refuses is learned (`lessons`).
"""

from __future__ import annotations

import re
from functools import lru_cache

from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.settings import server_of
from lee_llm_router.response.types import LLMRequest

_VERSION = re.compile(r"claude-(?:[a-z]+-)?v?([0-9]{1,2})(?![0-9])(?:[-.]([0-9]{1,2})(?![0-9]))?")
_FIRST_ADAPTIVE = (4, 6)


def model_of(request: LLMRequest, settings: AnthropicConfig) -> str | None:
    """Return the model to ask."""
    return request.model or settings.model


def is_claude(model: str | None, settings: AnthropicConfig) -> bool:
    """Return whether the model is one of Anthropic's, on any host: other vendors' models have fewer restrictions."""
    return _is_claude(model or "", settings.base_url)


def is_older(model: str | None, settings: AnthropicConfig) -> bool:
    """Return whether the model accepts the older forms: a budget for thinking, and the beginning of an answer."""
    return not is_claude(model, settings) or _is_older_claude(model or "")


@lru_cache(maxsize=256)
def _is_claude(model: str, base_url: str) -> bool:
    return "claude" in model.lower() or f".{server_of(base_url)}".endswith(".anthropic.com")


@lru_cache(maxsize=256)
def _is_older_claude(model: str) -> bool:
    found = _VERSION.search(model.lower())
    return found is not None and (int(found[1]), int(found[2] or 0)) < _FIRST_ADAPTIVE
