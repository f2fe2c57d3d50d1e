"""Turns any exception into a typed, scrubbed error, and the errors of a call into its final one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import fields
from functools import partial
from operator import attrgetter
from typing import Any, Protocol

from lee_llm_router._util.answer_headers import AnswerHeaders
from lee_llm_router._util.frozen import late_copier
from lee_llm_router._util.numbers import MAX_COUNT, amount, count, wait_seconds
from lee_llm_router._util.scrubbing import bounded, quoted, scrub_exception, text_of_exception
from lee_llm_router._util.shortage import lacking
from lee_llm_router.engine.attempt_secrets import secrets_of
from lee_llm_router.engine.plan import Attempt
from lee_llm_router.errors import (
    BudgetExceededError,
    InvalidResponseError,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    UnknownFailureError,
    UnrecordedRequestError,
    error_for,
)
from lee_llm_router.response.details import NO_DETAILS, AnswerDetails
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, ToolCall
from lee_llm_router.telemetry.records import TraceRecord, target_name


def to_router_error(caught: Exception, attempt: Attempt, secrets: Iterable[str]) -> LLMRouterError:
    """Return `caught`, the failure of `attempt`, as a typed error of its target.

    `secrets`, and the keys of the provider and of the request, are removed from it and its causes.
    """
    secrets = secrets_of(attempt, secrets)
    target = attempt.target
    try:
        error = _typed(caught, attempt.timeout, secrets)
    except Exception:  # noqa: BLE001 - a third-party error whose attributes cannot be read or set
        error = UnknownFailureError(quoted(text_of_exception(caught), secrets))
    error.provider = error.provider or target.provider
    error.model = error.model or target.model
    return error


def take_headers(error: LLMRouterError, answer: _WithHeaders | None, secrets: Iterable[str]) -> None:
    """Give `error` the header fields of the `answer`, unless it has its own, without any of `secrets`."""
    headers = error.headers or (answer.headers if answer is not None else error.headers)
    error.headers = headers.without(secrets) if isinstance(headers, AnswerHeaders) else headers


class _WithHeaders(Protocol):
    @property
    def headers(self) -> Mapping[str, str]: ...


def foreign_error(caught: Exception, what: str, secrets: Iterable[str] = ()) -> LLMRouterError:
    """Return `caught`, raised by third-party code in the router, as a typed error; `what` says where."""
    secrets = tuple(secrets)
    if isinstance(caught, LLMRouterError):
        whole = caught if vars(caught).keys() >= _FIELDS else _rebuilt(caught)
        return _sound(scrubbed(whole, secrets), secrets)
    clean = scrub_exception(caught, secrets)
    error = UnknownFailureError(quoted(f"{what}: {text_of_exception(caught)}", secrets), sent=False)
    error.__cause__ = caught if clean else None
    return error


def scrubbed(error: LLMRouterError, secrets: Iterable[str]) -> LLMRouterError:
    """Remove `secrets` from `error` and all its causes, bound its message, and return it."""
    secrets = tuple(secrets)
    message = quoted(_message_of(error), secrets)
    scrub_exception(error, secrets)
    error.args = (message,)
    return error


def _typed(caught: Exception, timeout: float, secrets: tuple[str, ...]) -> LLMRouterError:
    if isinstance(caught, LLMRouterError):
        error = scrubbed(_own(caught), secrets)
    else:
        clean = scrub_exception(caught, secrets)
        error = scrubbed(_translated(caught, timeout), secrets)
        error.__cause__ = caught if clean else None
    return _sound(error, secrets)


def _sound(error: LLMRouterError, secrets: tuple[str, ...]) -> LLMRouterError:
    """Return `error` with its fields checked: an invalid number, type or answer counts as missing."""
    error.failure_type = error._known_type(error.failure_type)
    error.retry_after = wait_seconds(error.retry_after)
    error.status_code = error.status_code if type(error.status_code) is int else None
    error.response = believable_part(error.response)
    error.provider, error.model = _name(error.provider), _name(error.model)
    error.final, error.sent, error.ask_again = bool(error.final), bool(error.sent), bool(error.ask_again)
    error.of_model = bool(error.of_model)
    if type(error.headers) is not AnswerHeaders:
        error.headers = AnswerHeaders.from_mapping(error.headers, secrets)
    return error


def _message_of(error: LLMRouterError) -> str:
    try:
        return str(error.args[0]) if error.args else ""
    except Exception:  # noqa: BLE001 - a third-party argument that cannot be converted to text
        return ""


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def believable_part(response: object) -> LLMResponse | None:
    """Return the part of an answer received despite a failure, through `believable`; None if it is not an answer."""
    try:
        return believable(response) if isinstance(response, LLMResponse) else None
    except InvalidResponseError:
        return None


def believable(response: LLMResponse) -> LLMResponse:
    """Return `response` without impossible values: numbers, a usage or words of the wrong type.

    Raises:
        InvalidResponseError: it has no text, or invalid tool calls.
    """
    # Written out, since nearly all responses end here: a function for each field would take 1 us more.
    usage: Any = response.usage
    size, model, reason = response.request_bytes, response.model, response.finish_reason
    if not (
        type(response.text) is str
        and response.cost_usd is None
        and (size is None or (type(size) is int and 0 <= size <= MAX_COUNT))
        and (model is None or (type(model) is str and len(model) <= _LONGEST_WORD))
        and (reason is None or (type(reason) is str and len(reason) <= _LONGEST_WORD))
        and (response.reasoning is None or type(response.reasoning) is str)
        and (response.tool_calls == () or _are_tool_calls(response.tool_calls))
        and type(response.headers) is AnswerHeaders
        and type(response.details) is AnswerDetails
    ):
        return _made_believable(response)
    if usage is not UNREPORTED:
        if type(usage) is not LLMUsage:
            return _made_believable(response)
        for number in _tokens(usage):
            if number is not None and (type(number) is not int or not 0 <= number <= MAX_COUNT):
                return _made_believable(response)
    return response


def _made_believable(response: LLMResponse) -> LLMResponse:
    usage: Any = response.usage
    if not isinstance(usage, LLMUsage):
        usage = UNREPORTED
    tokens = {name: count(number) for name, number in zip(_TOKENS, _tokens(usage), strict=True)}
    return _with_sound_fields(
        response,
        _text_of(response),
        _tool_calls_of(response),
        response.reasoning if isinstance(response.reasoning, str) else None,
        _bounded_word(response.finish_reason),
        _bounded_word(response.model),
        LLMUsage(**tokens),
        amount(response.cost_usd),
        count(response.request_bytes),
        _headers_of(response),
        response.details if isinstance(response.details, AnswerDetails) else NO_DETAILS,
    )


_with_sound_fields: Callable[..., LLMResponse] = late_copier(
    LLMResponse,
    "text",
    "tool_calls",
    "reasoning",
    "finish_reason",
    "model",
    "usage",
    "cost_usd",
    "request_bytes",
    "headers",
    "details",
)


def _headers_of(response: LLMResponse) -> AnswerHeaders:
    headers = response.headers
    return headers if type(headers) is AnswerHeaders else AnswerHeaders.from_mapping(headers)


def _text_of(response: LLMResponse) -> str:
    text: Any = response.text
    if text is not None and not isinstance(text, str):
        raise InvalidResponseError(f"the answer's text has the type {type(text).__name__}", final=True)
    return str(text or "")


def _tool_calls_of(response: LLMResponse) -> tuple[ToolCall, ...]:
    calls: Any = response.tool_calls
    if calls is None:
        return ()
    calls = tuple(calls) if isinstance(calls, list) else calls
    if not _are_tool_calls(calls):
        raise InvalidResponseError("the answer's tool calls have a wrong type", final=True)
    return calls  # type: ignore[no-any-return]


def _are_tool_calls(calls: Any) -> bool:
    return type(calls) is tuple and all(
        isinstance(call, ToolCall) and all(isinstance(part, str) for part in (call.id, call.name, call.arguments))
        for call in calls
    )


def _bounded_word(value: Any) -> str | None:
    return bounded(value, _LONGEST_WORD) if isinstance(value, str) else None


_LONGEST_WORD = 200
"""The most characters of a finish reason and of a model's name."""
_TOKENS = tuple(field.name for field in fields(LLMUsage))
_tokens = attrgetter(*_TOKENS)


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of `error` and its causes, which will never be raised.

    Their frames refer back to the error, so only the garbage collector would free them.
    """
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            current.__traceback__ = None
            queue += [current.__cause__, current.__context__]


_KEPT_CLASSES: tuple[type[LLMRouterError], ...] = (BudgetExceededError, UnrecordedRequestError)
"""Classes that a final error keeps, in addition to the one of each type."""


def final_error(
    role: str, request_id: str, error: LLMRouterError, records: Sequence[TraceRecord], elapsed: float
) -> LLMRouterError:
    """Return the final error of a call: of the last failure's type, with a record of every attempt."""
    made = sum(record.attempt is not None and record.outcome != "skipped" for record in records)
    status = "" if error.status_code is None else f" {error.status_code}"
    where = f" at {target_name(error.provider, error.model)}" if error.provider else ""
    tries = "no attempt was made" if made == 0 else "1 attempt" if made == 1 else f"{made} attempts"
    # An answer may have come, complete or partial, and have broken its contract or broken off.
    came = error.response is not None or any(record.response_chars is not None for record in records)
    missing = "no answer that can be used" if came else "no answer"
    kept = next((kind for kind in _KEPT_CLASSES if isinstance(error, kind)), None)
    made_of = kept or partial(error_for, error.failure_type)
    return made_of(
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
    """Return a copy that can be modified: a provider may raise one object repeatedly, for different calls."""
    try:
        error = copy(caught) if vars(caught).keys() >= _FIELDS else _rebuilt(caught)
    except Exception:  # noqa: BLE001 - a third-party class that cannot be copied, or that left fields out
        error = _rebuilt(caught)
    error.__cause__, error.__context__ = caught.__cause__, caught.__context__
    error.__suppress_context__ = caught.__suppress_context__
    return error.with_traceback(caught.__traceback__)


def _rebuilt(caught: LLMRouterError) -> LLMRouterError:
    details = {name: getattr(caught, name) for name in _DETAILS if hasattr(caught, name)}
    kind = caught._known_type(getattr(caught, "failure_type", None))
    return error_for(kind, text_of_exception(caught).partition(": ")[2], **details)


_FIELDS = vars(LLMRouterError()).keys()
_DETAILS = (
    "provider",
    "model",
    "status_code",
    "retry_after",
    "final",
    "sent",
    "response",
    "ask_again",
    "of_model",
    "local_shortage",
)


def _translated(caught: Exception, timeout: float) -> LLMRouterError:
    if isinstance(caught, TimeoutError):
        return LLMTimeoutError(f"no answer within {timeout:.4g} s")
    text = text_of_exception(caught)
    if not isinstance(caught, OSError):
        return UnknownFailureError(text)
    what = lacking(caught)
    if what is None:
        return ProviderError(text)
    return ProviderError(f"this machine has run out of {what}: {text}", local_shortage=True)
