"""What a server teaches by refusing: options and forms that one of its models does not accept. Pure.

`LearningProvider` explains what happens then. A refused form of this dialect (how to set thinking, how to ask for JSON,
whether to begin an answer for the model) is replaced by the next weaker one. A token limit that the dialect chose is
lowered to the one that the error names.
"""

from __future__ import annotations

import re
from collections.abc import Set

from pydantic_core import from_json

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import read_error

_LONGEST_ERROR = 1_000_000


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a server has taught about one model."""

    refused: frozenset[str] = frozenset()
    """Options and forms that the model does not accept, by the names of `lesson_of`."""
    max_tokens: int | None = None
    """The most tokens that the model generates."""

    def __or__(self, other: Lesson) -> Lesson:
        bounds = [bound for bound in (self.max_tokens, other.max_tokens) if bound is not None]
        return Lesson(self.refused | other.refused, min(bounds, default=None))


NO_LESSON = Lesson()


_REFUSAL = re.compile(
    r"not (?:\w+ ){0,2}(?:supported|available|permitted|allowed|enabled|recogni[sz]ed|known|accepted|compatible)"
    r"|(?:not|n't) (?:\w+ )?(?:support|allow|accept|recogni[sz]e)\b"
    r"|un(?:supported|available|known|recogni[sz]ed|expected)|disabled for|deprecated|removed|no longer"
    r"|extra (?:inputs|fields)|does not match any of the expected|input should be (?:one of )?['\"`]"
    r"|only supported|only supports"
    r"|cannot (?:both )?be (?:used|set|specified|disabled|combined|turned off)|must be (?:omitted|unset)"
    r"|must end with a user|too complex|invalid schema|schema is (?:invalid|not valid)"
)
_CONDITION = re.compile(r"\b(?:when|while|unless|if|together with)\b")
"""Words of a sentence that refuses something only under a condition; it teaches nothing about the model."""
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_READ = 8192
"""Characters to read of an error."""
_NAMES: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "temperature": r"\btemperature\b", "top_p": r"\btop_p\b", "top_k": r"\btop_k\b",
        "stop": r"\bstop_sequences?\b", "service_tier": r"\bservice_tier\b|\bspeed\b",
        "parallel_tool_calls": r"\bdisable_parallel_tool_use\b",
        "adaptive": r"\badaptive\b", "enabled": r"\.enabled\b|['\"`]enabled['\"`]|budget_tokens",
        "disabled": r"\.disabled\b|['\"`]disabled['\"`]|thinking cannot be (?:disabled|turned off)",
        "display": r"\bdisplay\b", "xhigh": r"\bxhigh\b", "max": r"['\"`:]\s?max\b", "effort": r"\beffort\b",
        "format": r"output_config\.format|output_format|json_schema|structured[ _-]outputs?|\bschema\b",
        "strict": r"\bstrict\b", "prefill": r"prefill|must end with a user|last message must be",
        "cache_control": r"cache_control", "thinking": r"\bthinking\b", "output_config": r"\boutput_config\b",
    }.items()
}  # fmt: skip
"""What an error may name (`Form` and the options of a request), with the words for it. More specific names come
first."""
_BROAD: dict[str, set[str]] = {
    "adaptive": {"display"},
    "enabled": {"display"},
    "thinking": {"adaptive", "enabled", "disabled", "display"},
    "effort": {"xhigh", "max"},
    "output_config": {"effort", "xhigh", "max", "format"},
}
"""Names that do not count if one of the more specific ones matches."""
_LEVELS = re.compile(r"['\"`]?\bhigh\b['\"`]?")
OPTIONS = ("temperature", "top_p", "top_k", "stop", "service_tier", "parallel_tool_calls")
"""Options of a request that a model may refuse; all other names are forms."""
BOTH = "temperature and top_p"
"""Refused by models that accept only one of them."""
_FEWER_TOKENS = re.compile(
    r"max_tokens\b.{0,120}?(?:[0-9]{3,9}\s*>\s*|at most |maximum (?:value |allowed )?(?:is |of |for \S+ is )"
    r"|less than or equal to |<= ?|\[1, ?)([0-9]{3,9})\b",
    re.DOTALL,
)


def lesson_of(reply: HTTPReply, asked: Set[str], max_tokens: int | None) -> Lesson:
    """Return what an error teaches; nothing unless it is a 400 or 422 that refuses something in the request.

    Args:
        reply: The error.
        asked: The forms and options in the request: errors can mean no others.
        max_tokens: The request's token limit, if the dialect chose it.
    """
    if reply.status not in (400, 422) or len(reply.body) > _LONGEST_ERROR:
        return NO_LESSON
    try:
        error = read_error(from_json(reply.body), reply.now)
    except ValueError:
        return NO_LESSON
    text = "\n".join((*error.texts, *error.params))[:_READ].lower()
    refused: set[str] = set()
    for sentence in _SENTENCES.split(text):
        if _REFUSAL.search(sentence):
            refused |= _refused_in(sentence, asked)
    found = None if max_tokens is None else _FEWER_TOKENS.search(text)
    bound = int(found[1]) if found else None
    fewer = bound is not None and max_tokens is not None and 0 < bound < max_tokens
    return Lesson(frozenset(refused), bound if fewer else None)


def _refused_in(sentence: str, asked: Set[str]) -> set[str]:
    named = {name for name, words in _NAMES.items() if name in asked and words.search(sentence)}
    if {"temperature", "top_p"} <= named:
        return {BOTH}
    if _CONDITION.search(sentence):
        return set()
    if "input should be" in sentence:  # it wants another value, so it knows the option
        named -= {*OPTIONS}
    levels = {"xhigh", "max"} & asked
    if "effort" in named and not levels & named and _LEVELS.search(sentence):
        named |= levels  # it lists the existing levels, and the requested one is not among them
    return {name for name in named if not _BROAD.get(name, set()) & named}
