"""How much a model should think, in the forms of Anthropic's Messages API. Pure.

| effort | a model that thinks as it sees fit | a model with a budget |
|---|---|---|
| none | thinking disabled | thinking disabled |
| minimal | thinking disabled, effort low | 1,024 tokens |
| low to max | adaptive thinking, effort as named | 2,048; 8,192; 16,384; 24,576; 49,152 tokens |

A budget is at most three quarters of the token limit, which covers thinking and text together; if that is less than the
smallest budget, the model does not think. If a model has refused a form (`lessons`), the next one that asks for no more
replaces it.
"""

from __future__ import annotations

from typing import Any

from lee_llm_router.providers.http.dialects.anthropic.lessons import Lesson
from lee_llm_router.providers.http.dialects.anthropic.messages import Written
from lee_llm_router.providers.http.dialects.anthropic.models import is_claude, is_older, model_of
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.dialects.anthropic.tools import forces_tool
from lee_llm_router.response.types import LLMRequest

LEAST_BUDGET = 1024
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 49_152}
_OFF = ("none", "minimal")
_WEAKER = {"max": "xhigh", "xhigh": "high"}


def thinks(request: LLMRequest, settings: AnthropicConfig) -> bool:
    """Return whether `request` asks the model to think."""
    effort = request.reasoning_effort
    if effort is None or effort == "none":
        return False
    return effort != "minimal" or _form(request, settings, settings.lesson) == "enabled"


def thinking_problem(request: LLMRequest, settings: AnthropicConfig) -> str | None:
    """Return why the model cannot think as much as requested; None if it can."""
    effort = request.reasoning_effort
    if effort is None or effort == "none":
        return None
    lesson = settings.lesson
    form = _form(request, settings, lesson)
    if form is None and not _takes_effort(lesson):
        return "the model has refused every form of it"
    if form == "enabled":
        if effort not in BUDGETS:
            return f"its budget of tokens is not known ({', '.join(BUDGETS)})"
        if forces_tool(request) and is_claude(model_of(request, settings), settings):
            return "the model does not think if tool_choice forces a call"
    return None


def thinking_fields(
    request: LLMRequest, settings: AnthropicConfig, lesson: Lesson, max_tokens: int, written: Written | None
) -> dict[str, Any]:
    """Return the body fields that say how much to think; none if the request does not say.

    Args:
        request: The request.
        settings: The provider's.
        lesson: What is known of the model.
        max_tokens: The token limit.
        written: The messages; None if they are plain texts.
    """
    effort = request.reasoning_effort
    if effort is None:
        return {}
    form = _form(request, settings, lesson)
    if form == "enabled" and effort != "none":
        thinking = _budgeted(effort, max_tokens, written)
        fields: dict[str, Any] = {} if thinking is None else {"thinking": _shown(thinking, settings, lesson)}
        return fields
    fields = {}
    if effort in _OFF:
        if not lesson.refused & {"disabled", "thinking"}:
            fields["thinking"] = {"type": "disabled"}
    elif form == "adaptive" and not (forces_tool(request) and is_claude(model_of(request, settings), settings)):
        fields["thinking"] = _shown({"type": "adaptive"}, settings, lesson)
    if _takes_effort(lesson) and (effort != "none" or "disabled" in lesson.refused):
        fields["output_config"] = {"effort": _effort(effort, lesson)}
    return fields


def _form(request: LLMRequest, settings: AnthropicConfig, lesson: Lesson) -> str | None:
    """Return the form of thinking: `adaptive`, or `enabled` with a budget; None if the model accepts neither."""
    if "thinking" in lesson.refused:
        return None
    wanted = settings.thinking
    older = wanted == "budget" or (wanted == "auto" and is_older(model_of(request, settings), settings))
    forms = ("enabled", "adaptive") if older else ("adaptive", "enabled")
    return next((form for form in forms if form not in lesson.refused), None)


def _takes_effort(lesson: Lesson) -> bool:
    return not lesson.refused & {"effort", "output_config"}


def _effort(effort: str, lesson: Lesson) -> str:
    """Return the API's word for an effort: the highest one, no higher than asked, that the model has not refused."""
    if effort in _OFF:
        return "low"
    while effort in lesson.refused and effort in _WEAKER:
        effort = _WEAKER[effort]
    return effort


def _budgeted(effort: str, max_tokens: int, written: Written | None) -> dict[str, Any] | None:
    """Return thinking with a budget; None if there is no room for it, or if the API would refuse it."""
    budget = min(BUDGETS.get(effort, LEAST_BUDGET), max_tokens * 3 // 4)
    if budget < LEAST_BUDGET:
        return None
    if written is not None and written.loop_lacks_thinking:
        return None  # within a loop of tool calls the model must have thought before them
    return {"type": "enabled", "budget_tokens": budget}


def _shown(thinking: dict[str, Any], settings: AnthropicConfig, lesson: Lesson) -> dict[str, Any]:
    if settings.thinking_display is not None and "display" not in lesson.refused:
        thinking["display"] = settings.thinking_display
    return thinking
