"""What a server teaches by refusing: options and forms that one of its models does not take. Pure.

`LearningProvider` says what becomes of that. Forms of this dialect (how thinking is told, how JSON is asked for, how an
answer is begun for the model) are replaced by the next weaker ones. A bound on tokens that was chosen here is lowered
to the one that the error names.
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
    """What a server has taught of one model."""

    refused: frozenset[str] = frozenset()
    """Options and forms that it does not take: the names are those of `lesson_of`."""
    max_tokens: int | None = None
    """The most tokens that it generates."""

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
"""In a sentence that refuses something under a condition only; it teaches nothing of the model."""
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_READ = 8192
"""Characters read of an error."""
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
"""What an error may name, by the words for it; `Form` and the options of a request. The more exact stand first."""
_BROAD: dict[str, set[str]] = {
    "adaptive": {"display"},
    "enabled": {"display"},
    "thinking": {"adaptive", "enabled", "disabled", "display"},
    "effort": {"xhigh", "max"},
    "output_config": {"effort", "xhigh", "max", "format"},
}
"""What is not meant where one of the more exact is."""
_LEVELS = re.compile(r"['\"`]?\bhigh\b['\"`]?")
OPTIONS = ("temperature", "top_p", "top_k", "stop", "service_tier", "parallel_tool_calls")
"""Options of a request that a model may refuse; all other names are of forms."""
BOTH = "temperature and top_p"
"""Refused where a model takes either of them."""
_FEWER_TOKENS = re.compile(
    r"max_tokens\b.{0,120}?(?:[0-9]{3,9}\s*>\s*|at most |maximum (?:value |allowed )?(?:is |of |for \S+ is )"
    r"|less than or equal to |<= ?|\[1, ?)([0-9]{3,9})\b",
    re.DOTALL,
)


def lesson_of(reply: HTTPReply, asked: Set[str], max_tokens: int | None) -> Lesson:
    """Return what an error teaches; nothing unless it is a 400 or 422 that refuses something in the request.

    Args:
        reply: The error.
        asked: The forms and options in the request: no error can mean others.
        max_tokens: The bound in it, where it was chosen here.
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
    if "input should be" in sentence:  # it wants another value, and knows the option
        named -= {*OPTIONS}
    levels = {"xhigh", "max"} & asked
    if "effort" in named and not levels & named and _LEVELS.search(sentence):
        named |= levels  # the levels that there are stand there: the one that was asked for is none of them
    return {name for name in named if not _BROAD.get(name, set()) & named}
