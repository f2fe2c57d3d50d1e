"""Decides whether an answer is acceptable by the rules (`accept`) of a role or a call.

The reason for refusing an answer goes into traces and logs, so it names the rule and quotes nothing of the answer. A
reason from a function of the application is passed on as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router._util.text_pattern import compile_pattern
from lee_llm_router._util.work_limit import WorkLimit
from lee_llm_router.engine.settings import AcceptConfig
from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.response.types import LLMResponse

if TYPE_CHECKING:
    from lee_llm_router.telemetry.reporter import Reporter

AcceptHook: TypeAlias = Callable[[LLMResponse], "bool | str"]
"""Judges an answer: True accepts it; False or a text refuses it, and the text gives the reason."""

MAX_JUDGED = 4_000_000
"""The most characters of a text that are searched for patterns."""

BROKEN_CONTRACT = "the answer breaks its contract: "
"""Prefix of messages about an answer that breaks its JSON contract. They quote nothing of the answer."""
NOT_ACCEPTED = "the answer was not accepted"
"""Prefix of messages about an answer that was refused. They quote nothing of the answer."""


def refusal_of(
    accept: AcceptConfig | AcceptHook, answer: Any, facts: LLMResponse, limit: WorkLimit, reporter: Reporter
) -> str | None:
    """Return why `answer` is not acceptable; None if it is.

    Args:
        accept: The acceptance rules, or a function.
        answer: The answer, as the caller would get it.
        facts: The facts about it, as a response.
        limit: The limit on searches in its text.
        reporter: Counts and logs exceptions of the application's function.

    Raises:
        WorkLimitError: the check takes longer than `limit` allows.
    """
    return _broken_rule(accept, facts, limit) if isinstance(accept, AcceptConfig) else _judged(accept, answer, reporter)


def not_accepted(reason: str, facts: LLMResponse, *, final: bool = False) -> InvalidResponseError:
    """Return the error for an answer that is refused for `reason`."""
    message = f"{NOT_ACCEPTED}: {bounded(reason, 300)}" if reason else NOT_ACCEPTED
    return InvalidResponseError(message, response=facts, final=final)


def _broken_rule(accept: AcceptConfig, facts: LLMResponse, limit: WorkLimit) -> str | None:
    allowed = accept.finish_reasons
    if allowed is not None and facts.finish_reason not in allowed:
        return f"its finish reason is not one of {', '.join(allowed)}"
    text = facts.text.strip()
    if not text and facts.tool_calls:
        return None  # The rules apply to text; an answer that only calls tools has none.
    if len(text) < accept.min_chars:
        return f"it has {len(text)} characters, but min_chars is {accept.min_chars}"
    return _broken_pattern(accept, text, limit)


def _broken_pattern(accept: AcceptConfig, text: str, limit: WorkLimit) -> str | None:
    if len(text) > MAX_JUDGED and (accept.must_match or accept.must_not_match):
        return f"it is too long to be searched ({len(text)} characters)"
    for pattern in accept.must_match:
        if not compile_pattern(pattern).is_in(text, limit):
            return f"must_match {pattern!r:.100} is not in it"
    for pattern in accept.must_not_match:
        if compile_pattern(pattern).is_in(text, limit):
            return f"must_not_match {pattern!r:.100} is in it"
    return None


def _judged(hook: AcceptHook, answer: Any, reporter: Reporter) -> str | None:
    """Return the verdict of `hook`. If it fails, the answer is refused, and the error is reported like any hook's."""
    refusals: list[str | None] = []
    reporter.call_listener("accept", _call, hook, answer, refusals)
    return refusals[0] if refusals else "the function that judges it failed"


def _call(hook: AcceptHook, answer: Any, refusals: list[str | None]) -> None:
    said: Any = None
    try:
        said = hook(answer)
    except Exception as error:  # noqa: BLE001 - raised again without its text, which may quote the answer
        refusals.append(f"the function that judges it raised {type(error).__name__}")
        raise TypeError(f"it raised {type(error).__name__}") from None
    if isinstance(said, bool):
        refusals.append(None if said else "")
    elif isinstance(said, str):
        refusals.append(str(said) or None)
    else:
        if inspect.iscoroutine(said):
            said.close()
        refusals.append(f"the function that judges it returned {type(said).__name__}, not a bool or a text")
        raise TypeError(f"it returned {type(said).__name__}, not a bool or a text")
