"""What a failed run of a program means: by the rules of the settings, or else by its exit code and its words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lee_llm_router._util.text_pattern import compile_pattern
from lee_llm_router._util.work_limit import WorkLimit, WorkLimitError
from lee_llm_router.errors import FailureType
from lee_llm_router.providers.agents.failures import Failure, failure_of_end
from lee_llm_router.providers.command.settings import FailureRule
from lee_llm_router.providers.http.dialects.error_words import failure_in_words
from lee_llm_router.providers.http.dialects.waits import wait_in_words

F = FailureType

_SEARCHED = 16_384
"""Characters to search at the end of a text: programs explain a failure there."""
_READ = 2000
_WITH_WAIT = frozenset({F.RATE_LIMIT, F.QUOTA, F.OVERLOADED})
_ANY_PROGRAM_SAYS = frozenset({F.RATE_LIMIT, F.QUOTA, F.OVERLOADED, F.CONTEXT_LENGTH})
"""Failures that words on stderr can prove. Others ("permission denied", "not found") may be about this machine."""


def shows_failure(rules: Sequence[FailureRule], stdout: str) -> bool:
    """Whether a rule with no other condition matches the output of a run that ended successfully."""
    alone = (rule for rule in rules if rule.exit_code is None and rule.stderr is None and rule.error is None)
    return any(rule.stdout is not None and _is_in(rule.stdout, stdout) for rule in alone)


def fitting_rule(
    rules: Sequence[FailureRule], returncode: int | None, stderr: str, stdout: str, error: str | None
) -> FailureRule | None:
    """Return the first rule that matches a failed run; None if none does."""
    return next((rule for rule in rules if _fits(rule, returncode, stderr, stdout, error)), None)


def judged(rule: FailureRule | None, error: str | None, returncode: int | None, stderr: str, now: float) -> Failure:
    """Return the failure of a run.

    Args:
        rule: The rule that matches it; None if none does.
        error: The error message in its output.
        returncode: Its exit code.
        stderr: The end of its stderr.
        now: Seconds since 1970 UTC.
    """
    said = (error or "").strip() or stderr.strip()
    if rule is not None:
        wait = rule.retry_after
        if wait is None and rule.type in _WITH_WAIT:
            wait = wait_in_words(said[-_READ:], now)
        message = said[-_READ:] or f"the program exited with {returncode} and said nothing"
        return Failure(rule.type, message, returncode, wait, rule.final)
    if error is not None:
        kind = failure_in_words(error[:_READ]) or F.PROVIDER_ERROR
        return Failure(kind, error[:_READ], returncode, _wait(kind, error, now))
    failure = failure_of_end("the program", returncode, stderr, ())
    if failure.failure_type is not F.PROVIDER_ERROR or failure.final or returncode is None or not 0 < returncode < 126:
        return failure
    kind = failure_in_words(said[-_READ:], _ANY_PROGRAM_SAYS) or F.PROVIDER_ERROR
    return Failure(kind, failure.message, returncode, _wait(kind, said, now))


def _wait(kind: FailureType, said: str, now: float) -> float | None:
    return wait_in_words(said[-_READ:], now) if kind in _WITH_WAIT else None


def _fits(rule: FailureRule, returncode: int | None, stderr: str, stdout: str, error: str | None) -> bool:
    if rule.exit_code is not None and rule.exit_code != returncode:
        return False
    searched = ((rule.stderr, stderr), (rule.stdout, stdout), (rule.error, error or ""))
    return all(pattern is None or _is_in(pattern, text) for pattern, text in searched)


def _is_in(pattern: str, text: str) -> bool:
    try:
        return compile_pattern(pattern).is_in(text[-_SEARCHED:], WorkLimit())
    except WorkLimitError:
        return False
