"""From whatever was raised to a typed, scrubbed failure; and from a call's failures to its one final error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import fields, replace
from typing import Any

from lee_llm_router._util.numbers import amount, count, wait_seconds
from lee_llm_router._util.scrubbing import bounded, scrub, scrub_exception
from lee_llm_router.engine.plan import Target
from lee_llm_router.errors import (
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    UnknownFailureError,
    error_of,
)
from lee_llm_router.providers.base import Provider
from lee_llm_router.response import LLMResponse, LLMUsage
from lee_llm_router.telemetry.records import TraceRecord


def as_failure(
    caught: Exception, target: Target, provider: Provider[Any], timeout: float, secrets: Iterable[str]
) -> LLMRouterError:
    """`caught` as a typed failure of `target`, with secrets (the provider's too) taken out of it and all its causes."""
    secrets = (*secrets, *_secrets_of(provider))
    if isinstance(caught, LLMRouterError):
        error = cleaned(_own(caught), secrets)
    else:
        clean = scrub_exception(caught, secrets)
        error = cleaned(_translated(caught, timeout), secrets)
        error.__cause__ = caught if clean else None
    error.retry_after = wait_seconds(error.retry_after)
    error.status_code = error.status_code if type(error.status_code) is int else None
    error.response = None if error.response is None else believable(error.response)
    error.provider = error.provider or target.provider
    error.model = error.model or target.model
    return error


def believable(response: LLMResponse) -> LLMResponse:
    """Return `response` without numbers that cannot be true: its cost, its tokens, its size."""
    checks: dict[str, Any] = {}
    if response.cost_usd is not None and response.cost_usd != (cost := amount(response.cost_usd)):
        checks["cost_usd"] = cost
    if response.request_bytes is not None and response.request_bytes != (size := count(response.request_bytes)):
        checks["request_bytes"] = size
    usage = response.usage
    if usage is not None:
        tokens = {name: getattr(usage, name, None) for name in _TOKENS}
        checked = {name: None if value is None else count(value) for name, value in tokens.items()}
        if checked != tokens:
            checks["usage"] = LLMUsage(**checked)
    return replace(response, **checks) if checks else response


_TOKENS = tuple(field.name for field in fields(LLMUsage))


def cleaned(error: LLMRouterError, secrets: Iterable[str]) -> LLMRouterError:
    """`error`, with `secrets` taken out of it and of all its causes, and its message bounded."""
    secrets = tuple(secrets)
    scrub_exception(error, secrets)
    error.args = (bounded(scrub(error.message, secrets)),)
    return error


def forget_frames(error: BaseException) -> None:
    """Let go of the frames that `error` and its causes hold: of a failure that nobody will see raised.

    They hold the failure in turn, so that only the garbage collector would free them, some time later.
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
    """The error a call ends with: of the last failure's type, telling of every attempt."""
    made = sum(record.attempt is not None and record.outcome != "skipped" for record in records)
    where = f" at {error.provider}/{error.model}" if error.provider and error.model else ""
    tries = "no attempt was made" if made == 0 else "1 attempt" if made == 1 else f"{made} attempts"
    return error_of(
        error.failure_type,
        f"role {role!r} got no answer ({tries}, {elapsed:.2f} s): {error.failure_type}{where}: {error.message}",
        provider=error.provider,
        model=error.model,
        status_code=error.status_code,
        retry_after=error.retry_after,
        request_id=request_id,
        attempts=records,
        final=error.final,
        sent=error.sent,
        response=error.response,
    )


def _own(caught: LLMRouterError) -> LLMRouterError:
    """A copy to write into: a provider may raise one object again and again, for different calls."""
    error = copy(caught)
    error.__cause__, error.__context__ = caught.__cause__, caught.__context__
    error.__suppress_context__ = caught.__suppress_context__
    return error.with_traceback(caught.__traceback__)


def _translated(caught: Exception, timeout: float) -> LLMRouterError:
    if isinstance(caught, TimeoutError):
        return LLMTimeoutError(f"no answer within {timeout:.4g} s")
    text = f"{type(caught).__name__}: {caught}"
    return ProviderError(text) if isinstance(caught, OSError) else UnknownFailureError(text)


def _secrets_of(provider: Provider[Any]) -> Iterable[str]:
    try:
        return tuple(secret for secret in provider.secrets() if isinstance(secret, str))
    except Exception:  # noqa: BLE001 - a broken provider must not hide the failure that is being handled
        return ()
