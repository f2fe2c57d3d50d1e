"""Turns any exception into a typed, scrubbed error, and the errors of a call into its final one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import fields
from operator import attrgetter
from typing import Any

from lee_llm_router._util.answer_headers import AnswerHeaders
from lee_llm_router._util.numbers import MAX_COUNT, amount, count, wait_seconds
from lee_llm_router._util.scrubbing import bounded, scrub, scrub_exception
from lee_llm_router._util.shortage import lacking
from lee_llm_router.engine.plan import Target
from lee_llm_router.errors import (
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    UnknownFailureError,
    error_for,
)
from lee_llm_router.providers.base import Provider
from lee_llm_router.response import LLMResponse, LLMUsage, with_headers, with_numbers
from lee_llm_router.telemetry.records import TraceRecord, target_name


def to_router_error(
    caught: Exception, target: Target, provider: Provider[Any], timeout: float, secrets: Iterable[str]
) -> LLMRouterError:
    """Return `caught` as a typed error of `target`; secrets, the provider's too, are taken out of it and its causes."""
    secrets = (*secrets, *_secrets_of(provider))
    if isinstance(caught, LLMRouterError):
        error = scrubbed(_own(caught), secrets)
    else:
        clean = scrub_exception(caught, secrets)
        error = scrubbed(_translated(caught, timeout), secrets)
        error.__cause__ = caught if clean else None
    error.retry_after = wait_seconds(error.retry_after)
    error.status_code = error.status_code if type(error.status_code) is int else None
    error.response = believable(error.response) if isinstance(error.response, LLMResponse) else None
    if type(error.headers) is not AnswerHeaders:
        error.headers = AnswerHeaders.from_mapping(error.headers, secrets)
    error.provider = error.provider or target.provider
    error.model = error.model or target.model
    return error


def believable(response: LLMResponse) -> LLMResponse:
    """Return `response` without numbers that cannot be true: its cost, its tokens, its size.

    A usage that is no `LLMUsage` counts as unreported. Header fields that a provider made itself are bounded.
    """
    if type(response.headers) is not AnswerHeaders:
        return believable(with_headers(response, AnswerHeaders.from_mapping(response.headers)))
    usage: Any = response.usage
    size = response.request_bytes
    if usage is not None and not isinstance(usage, LLMUsage):
        return believable(with_numbers(response, None, response.cost_usd, size))
    sound = response.cost_usd is None and (size is None or (type(size) is int and 0 <= size <= MAX_COUNT))
    if sound and usage is not None:
        # Written out, since nearly all responses end here: by a function for each number it takes 1 us more.
        for number in _tokens(usage):
            if number is not None and (type(number) is not int or not 0 <= number <= MAX_COUNT):
                sound = False
                break
    if sound:
        return response
    if usage is not None:
        usage = LLMUsage(**{name: count(number) for name, number in zip(_TOKENS, _tokens(usage), strict=True)})
    return with_numbers(response, usage, amount(response.cost_usd), count(size))


_TOKENS = tuple(field.name for field in fields(LLMUsage))
_tokens = attrgetter(*_TOKENS)


def scrubbed(error: LLMRouterError, secrets: Iterable[str]) -> LLMRouterError:
    """Take `secrets` out of `error` and all its causes, bound its message, and return it."""
    secrets = tuple(secrets)
    scrub_exception(error, secrets)
    error.args = (bounded(scrub(error.message, secrets)),)
    return error


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of `error` and its causes, which will never be raised.

    Their frames refer to the error in turn, so that only the garbage collector would free them.
    """
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            current.__traceback__ = None
            queue += [current.__cause__, current.__context__]


def final_error(
    role: str, request_id: str, error: LLMRouterError, records: Sequence[TraceRecord], elapsed: float
) -> LLMRouterError:
    """Return the error that a call ends with: of the last failure's type, with a record of every attempt."""
    made = sum(record.attempt is not None and record.outcome != "skipped" for record in records)
    status = "" if error.status_code is None else f" {error.status_code}"
    where = f" at {target_name(error.provider, error.model)}" if error.provider else ""
    tries = "no attempt was made" if made == 0 else "1 attempt" if made == 1 else f"{made} attempts"
    # An answer may have come, whole or in part, and broken its contract or off.
    came = error.response is not None or any(record.response_chars is not None for record in records)
    missing = "no answer that can be used" if came else "no answer"
    return error_for(
        error.failure_type,
        f"role {role!r} got {missing} ({tries}, {elapsed:.2f} s): {error.failure_type}{status}{where}: {error.message}",
        provider=error.provider,
        model=error.model,
        status_code=error.status_code,
        retry_after=error.retry_after,
        request_id=request_id,
        attempts=records,
        final=error.final,
        sent=error.sent,
        response=error.response,
        local_shortage=error.local_shortage,
        headers=error.headers,
    )


def _own(caught: LLMRouterError) -> LLMRouterError:
    """Return a copy to write into: a provider may raise one object again and again, for different calls."""
    error = copy(caught)
    error.__cause__, error.__context__ = caught.__cause__, caught.__context__
    error.__suppress_context__ = caught.__suppress_context__
    return error.with_traceback(caught.__traceback__)


def _translated(caught: Exception, timeout: float) -> LLMRouterError:
    if isinstance(caught, TimeoutError):
        return LLMTimeoutError(f"no answer within {timeout:.4g} s")
    text = f"{type(caught).__name__}: {caught}"
    if not isinstance(caught, OSError):
        return UnknownFailureError(text)
    what = lacking(caught)
    if what is None:
        return ProviderError(text)
    return ProviderError(f"this machine has run out of {what}: {text}", local_shortage=True)


def _secrets_of(provider: Provider[Any]) -> Iterable[str]:
    try:
        return tuple(secret for secret in provider.secrets() if isinstance(secret, str))
    except Exception:  # noqa: BLE001 - a broken provider must not hide the failure that is being handled
        return ()
