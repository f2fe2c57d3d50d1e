"""Finds the type of a failed gemini run from its last message, its exit code and its stderr.

Gemini exits with the HTTP status modulo 256 (429 gives 173), and prints the service's message, or its whole body, in
square brackets. So a status and a body are restored, and read like those of any server. Recorded with version 0.61 and
a server that failed in every way (`tests/real/test_real_gemini.py` repeats that). Pure: no I/O.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_json

from lee_llm_router._util.numbers import wait_seconds
from lee_llm_router.errors import FailureType
from lee_llm_router.providers.agents.failures import Failure, failure_of_end, json_object
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.providers.gemini_cli.prompt import LONG_PROMPT
from lee_llm_router.providers.http.dialects import errors as http_errors
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_words import failure_in_words

F = FailureType

PLAN_WAIT = 600.0
"""Seconds: a longer wait after a 429 means the limit of a plan, not a limit on requests per minute."""
_SEARCHED = 8192
"""Characters to read of a message."""
_LONGEST_BODY = 131_072

# Gemini's own exit codes; its message says no more.
_EXITS: dict[int, tuple[FailureType, bool]] = {
    41: (F.AUTH, False),
    42: (F.INVALID_REQUEST, False),
    44: (F.PROVIDER_ERROR, True),
    52: (F.INVALID_REQUEST, False),
    53: (F.INVALID_RESPONSE, True),
    54: (F.PROVIDER_ERROR, False),
    55: (F.INVALID_REQUEST, False),
}

_SENTENCES: tuple[tuple[str, FailureType, bool], ...] = (
    (r"blocked (?:by|due to)", F.CONTENT_FILTER, False),
    (r"exceeded the token limit", F.INVALID_RESPONSE, True),
    (r"finish reason|empty response|no final response|malformed|is not valid json|incomplete json|in json at"
     r"|unexpected (?:token|end of json)|unterminated string", F.INVALID_RESPONSE, False),
    (r"timed? ?out|etimedout|headers timeout", F.TIMEOUT, False),
    (r"fetch failed|econn|enotfound|socket|terminated|certificate", F.PROVIDER_ERROR, False),
)  # fmt: skip
# Finish reasons of answers that count as none (Gemini API reference, `FinishReason`).
_FILTERED = frozenset({
    "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "LANGUAGE", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
})  # fmt: skip

_STARTUP_ERRORS: tuple[tuple[str, FailureType, bool], ...] = (
    (r"no space left|resource temporarily|too many open files|out of memory|enospc|emfile", F.PROVIDER_ERROR, False),
    (r"unknown argument|not enough non-option|invalid values|missing system prompt", F.INVALID_REQUEST, False),
    (r"authenticat|authoriz|log ?in|GEMINI_API_KEY|invalid_grant|credentials", F.AUTH, False),
    (r"please fix the configuration|cannot find module|syntaxerror", F.INVALID_REQUEST, False),
)  # fmt: skip


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_REPORTED = re.compile(r"Error when talking to Gemini API .{0,1000}?\.json \w+: (.*?)(?:\n\s+at |\Z)", re.DOTALL)
"""What gemini writes to stderr about an error of the service. It may end before it has printed that as an event."""


def classify(message: str | None, result: ChildResult, now: float, *, prompt_blocked: bool = False) -> Failure:
    """Return the failure of a run without an answer.

    Args:
        message: The error in its events; None if there is none.
        result: How it ended.
        now: Seconds since 1970 UTC, to turn a time into a wait.
        prompt_blocked: Whether the service answered without any candidate, as it does if it blocks a prompt.
    """
    raw = result.stderr.decode(errors="replace")
    stderr = _without_noise(raw)
    if message is None and (told := _REPORTED.search(raw)):
        message = told[1]
    if message is None:
        return _from_end(result.returncode, stderr)
    if prompt_blocked:
        return Failure(F.CONTENT_FILTER, "the service blocked the prompt: it gave no candidate", result.returncode)
    status = _http_status(result.returncode, stderr)
    said = _said(message)
    if status is not None:
        return _from_status(status, said, stderr, now)
    plain = said[:_SEARCHED]
    if result.returncode in _EXITS:
        kind, final = _EXITS[result.returncode]
        return Failure(kind, plain, result.returncode, final=final)
    for pattern, kind, final in _SENTENCES:
        if re.search(pattern, plain, re.IGNORECASE):
            return Failure(kind, plain, result.returncode, final=final)
    return Failure(failure_in_words(plain) or F.PROVIDER_ERROR, plain, result.returncode)


def failure_of_finish(reason: str, prompt_bytes: int, *, asked: bool) -> Failure:
    """Return the failure of a run that gemini considers successful.

    Args:
        reason: The service's finish reason; empty if it gave none.
        prompt_bytes: Size of the prompt.
        asked: Whether the service was asked at all.
    """
    if not asked and prompt_bytes > LONG_PROMPT:
        return Failure(F.CONTEXT_LENGTH, "gemini asked nothing of the model: the prompt does not fit", 0)
    if not reason:
        return Failure(F.INVALID_RESPONSE, "gemini ended normally but gave no answer", 0)
    if reason in _FILTERED:
        return Failure(F.CONTENT_FILTER, f"the service ended the answer: {reason}", 0)
    if reason == "STOP":
        return Failure(F.INVALID_RESPONSE, "the answer is empty", 0)
    return Failure(F.INVALID_RESPONSE, f"the answer is not complete: {reason}", 0, final=reason == "MAX_TOKENS")


def _from_status(status: int, said: str, stderr: str, now: float) -> Failure:
    body: Any = json_object(said) if len(said) <= _LONGEST_BODY else None
    if body is None:
        body = {"error": {"message": said[:_SEARCHED]}}
    error = http_errors.failure(HTTPReply(status, to_json(body), now=now))
    kind, wait = error.failure_type, error.retry_after
    if status == 429:
        if "TerminalQuotaError" in stderr or "perday" in said.lower():
            kind = F.QUOTA
            # The wait with a daily limit is only a few seconds, and wrong.
            wait = wait if wait is not None and wait >= PLAN_WAIT else _until_midnight(now)
        elif kind is F.RATE_LIMIT and wait is not None and wait >= PLAN_WAIT:
            kind = F.QUOTA
    return Failure(kind, error.message, status, wait, error.final)


def _from_end(returncode: int | None, stderr: str) -> Failure:
    if returncode in _EXITS:
        kind, final = _EXITS[returncode]
        if returncode == 42 and "no input provided" in stderr.lower():
            # There was a prompt: gemini reads its input for half a second, and a busy machine may take longer.
            kind = F.PROVIDER_ERROR
        return Failure(kind, stderr or f"gemini exited with {returncode} and said nothing", returncode, final=final)
    if returncode == 0:
        return Failure(F.PROVIDER_ERROR, "gemini was killed by a signal or ended early: it printed no result", 0)
    return failure_of_end("gemini", returncode, stderr, _STARTUP_ERRORS)


def _http_status(returncode: int | None, stderr: str) -> int | None:
    """Return the HTTP status that an exit code of eight bits means."""
    if returncode is not None and 144 <= returncode <= 255:
        return returncode + 256
    return 404 if returncode == 1 and "ModelNotFoundError" in stderr else None


def _said(message: str) -> str:
    """Return a message without the brackets that gemini puts around the service's, and without the advice after
    them."""
    inner = re.match(
        r"\[API Error: (.*?)(?: \(Status: [A-Z_]*\))?\](?:\n(?:Please wait|Possible quota)[^\n]*)?\Z",
        message,
        re.DOTALL,
    )
    return (inner[1] if inner else message).strip() or "gemini gave no reason"


def _without_noise(stderr: str) -> str:
    noise = ("Warning: ", "Ripgrep is not", "[STARTUP]", "    at ")
    lines = _COLOURS.sub("", stderr).splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith(noise))


def _until_midnight(now: float) -> float | None:
    """Return the seconds until daily quotas reset: midnight Pacific time (Gemini API, "Rate limits")."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    with suppress(ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
        here = datetime.fromtimestamp(now, ZoneInfo("America/Los_Angeles"))
        midnight = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return wait_seconds(midnight.timestamp() - now)
    return None
