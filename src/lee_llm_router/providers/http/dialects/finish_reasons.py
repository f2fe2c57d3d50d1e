"""What a finish reason says: whether the answer is complete, cut by length, or broken off. Pure.

Every vendor has its own words (Gemini's are in capitals), so most are recognized by words in them: a reason that
mentions a filter, a failure or a malformed call means an incomplete answer, whoever wrote it. With an unknown reason,
it is an answer only if it has content.
"""

from __future__ import annotations

import re

from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.response.types import LLMResponse

_F = FailureType
_BROKEN_OFF: tuple[tuple[FailureType, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            _F.CONTENT_FILTER,
            r"filter|safety|sensitive|moderat|prohibit|block(?:ed|list)|recitation|spii|policy|refus|guardrail|violat|toxic"
            r"|armor|escalation|^language$",
        ),
        (_F.AUTH, r"(?:^|_)disabled$"),
        (_F.OVERLOADED, r"overload|capacity|insufficient_system_resource"),
        (_F.TIMEOUT, r"time_?d?_?out"),
        (_F.INVALID_RESPONSE, r"incomplete|malformed|unexpected|invalid|missing|too_many|(?:^|_)other$|unspecified"),
        (_F.PROVIDER_ERROR, r"error|abort|fail|cancel|interrupt|disconnect|crash"),
        (_F.INVALID_RESPONSE, r"^no_image$"),
    )
)
"""Words in a finish reason, in lower case, that mean the answer is incomplete."""
_CUT = re.compile(r"length|max_?(?:\w+_)?tokens?|token_limit|context_window")
_ENDED = re.compile(r"stop|end|eos|complete|done|finish|success|tool|function")
"""Words of reasons that may come without a text: the model had nothing more to say."""
_CALLED = frozenset({"stop", "function_call", "tool_use", "tool_call", "end_turn"})
_CALLING = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
_USUAL = frozenset({"stop", "length", "tool_calls", ""})


def broken_off(reply: HTTPReply, reason: str, response: LLMResponse | None = None) -> LLMRouterError | None:
    """Return the error for a finish reason; None for an ordinary one."""
    if reason in _USUAL:
        return None
    words = _lower(reason)
    kind = next((kind for kind, pattern in _BROKEN_OFF if pattern.search(words)), None)
    if kind is None or _CUT.search(words):
        return None
    message = f"the answer was broken off ({reply.quote(reason, 60)})"
    final = "incomplete" in words  # the vendor gave up; a malformed call is worth a retry
    return error_for(kind, message, status_code=reply.status, response=response, final=final)


def known_word(reason: str | None, *, calls_tools: bool) -> str | None:
    """Return OpenAI's word for a finish reason if it has one: `length`, `tool_calls`, `stop`.

    An answer that calls tools ends with `tool_calls`, whatever the server says: many agents check only that word.
    """
    if not reason:
        return None
    if reason in _USUAL and not calls_tools:
        return reason
    words = _lower(reason)
    if _CUT.search(words):
        return "length"
    if words in _USUAL:
        reason = words
    return "tool_calls" if calls_tools and words in _CALLED else reason


def may_be_empty(reason: str) -> bool:
    """Return whether an answer without text may end with this reason."""
    words = _lower(reason)
    return not words or _ENDED.search(words) is not None or _CUT.search(words) is not None


def calls_are_lost(reason: str) -> bool:
    """Return whether the model stopped to call a tool, as far as `reason` says."""
    return _lower(reason) in _CALLING


def _lower(reason: str) -> str:
    """Return `reason` in lower-case words joined by underscores: MaxTokens becomes max_tokens."""
    spaced = reason[:200]
    if not spaced.islower() and not spaced.isupper():
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", spaced)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
