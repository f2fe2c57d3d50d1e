"""Writes the options of a request as fields of a chat completion's body. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, get_args

from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig, OptionName
from lee_llm_router.response.types import REASONING_EFFORTS, LLMRequest

_NAMES: tuple[str, ...] = get_args(OptionName)
_values_of = attrgetter(*_NAMES)
_UNSET = (None,) * len(_NAMES)


def options_of(request: LLMRequest, settings: OpenAIChatConfig) -> Mapping[str, Any]:
    """Return the fields for the options that `request` sets; usually none."""
    values = _values_of(request)
    if values == _UNSET:
        return {}
    asked = {name: value for name, value in zip(_NAMES, values, strict=True) if value is not None}
    if not asked.get("logprobs", True):
        del asked["logprobs"]
    for name in ("tools", "stop"):  # servers refuse an empty list
        if name in asked and not asked[name]:
            del asked[name]
    if "tools" not in asked and "tools" not in request.extra_body and "tools" not in settings.extra_body:
        # Servers refuse both without tools, where they mean nothing; but a tool that must be called would be missing.
        asked.pop("parallel_tool_calls", None)
        if asked.get("tool_choice") in ("auto", "none"):
            del asked["tool_choice"]
    if "top_logprobs" in asked:
        asked["logprobs"] = True
    if settings.reasoning_efforts and "reasoning_effort" in asked:
        asked["reasoning_effort"] = nearest_effort(asked["reasoning_effort"], settings.reasoning_efforts)
    if settings.rename:
        asked = {settings.field_of(name): value for name, value in asked.items()}
    return asked


def nearest_effort(asked: str, known: Sequence[str]) -> str:
    """Return the word in `known` that is nearest to `asked` and no higher; the lowest if all are higher.

    A word on no scale of ours is a vendor's own, and stays.
    """
    if asked in known or asked not in REASONING_EFFORTS:
        return asked
    on_scale = [word for word in REASONING_EFFORTS if word in known]
    if not on_scale:
        return asked
    lower = [word for word in on_scale if REASONING_EFFORTS.index(word) < REASONING_EFFORTS.index(asked)]
    return lower[-1] if lower else on_scale[0]
