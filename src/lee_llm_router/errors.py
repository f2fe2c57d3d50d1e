"""The errors of the router: one tree, and one `FailureType` for each kind of failed attempt.

Everything the package raises on purpose is an `LLMRouterError`::

    Exception
    └── LLMRouterError              .failure_type .provider .model .status_code .retry_after .request_id .attempts
        ├── ConfigError             the configuration is wrong; .findings lists every mistake
        ├── PolicyError             a routing policy raised, or chose an unknown provider
        ├── RouterClosedError       the router was used after close()
        ├── BatchStoppedError       a batch has ended before its last row (batch/engine.py); .report has its figures
        ├── LLMTimeoutError         TIMEOUT
        ├── RateLimitError          RATE_LIMIT
        ├── OverloadedError         OVERLOADED
        ├── ProviderError           PROVIDER_ERROR
        ├── InvalidResponseError    INVALID_RESPONSE
        ├── AuthenticationError     AUTH
        ├── QuotaExceededError      QUOTA
        ├── ModelNotFoundError      MODEL_NOT_FOUND
        ├── ContextLengthError      CONTEXT_LENGTH
        ├── ContentFilterError      CONTENT_FILTER
        ├── InvalidRequestError     INVALID_REQUEST
        │   └── UnrecordedRequestError  a cassette plays, and does not have the request
        ├── ContractViolationError  CONTRACT_VIOLATION
        ├── UnavailableError        UNAVAILABLE
        └── UnknownFailureError     UNKNOWN

A cancelled call (``asyncio.CancelledError``, ``KeyboardInterrupt``, ``GeneratorExit``) is traced and re-raised
unchanged. Its failure type is CANCELLED, for which there is no class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from lee_llm_router._util.answer_headers import NO_HEADERS, request_id_in

if TYPE_CHECKING:
    from lee_llm_router.response.types import LLMResponse
    from lee_llm_router.telemetry.records import TraceRecord


class FailureType(StrEnum):
    """Why an attempt failed. `docs/errors.md` says what the router does after each."""

    TIMEOUT = "TIMEOUT"
    RATE_LIMIT = "RATE_LIMIT"
    OVERLOADED = "OVERLOADED"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    INVALID_RESPONSE = "INVALID_RESPONSE"
    AUTH = "AUTH"
    QUOTA = "QUOTA"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    CONTEXT_LENGTH = "CONTEXT_LENGTH"
    CONTENT_FILTER = "CONTENT_FILTER"
    INVALID_REQUEST = "INVALID_REQUEST"
    CONTRACT_VIOLATION = "CONTRACT_VIOLATION"
    UNAVAILABLE = "UNAVAILABLE"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"


class LLMRouterError(Exception):
    """Base class of every error of this package. A provider raises one to say how an attempt failed.

    Args:
        message: One or two sentences for a human reader.
        failure_type: The kind of failure. By default the class decides.
        provider: Name of the failing provider in the configuration, if any.
        model: The requested model.
        status_code: HTTP status, or exit code of a child process.
        retry_after: Seconds to wait before the next attempt, as named by the provider.
        request_id: The call's id (UUIDv7). The router sets it on the error it raises.
        attempts: One record for each attempt of the call and each skipped target, in order.
        final: Whether another attempt at the same target is pointless, whatever the failure table says of the type.
        sent: Whether anything may have been sent to the provider. False only if that is certain.
        response: The part of an answer that was received (truncated text, usage), if any.
        ask_again: Whether the provider sends a different request from now on, so another attempt at the same target is
            worthwhile at once, whatever the type says. It does not count against the target's attempts, only against
            the call's limit.
        of_model: Whether only this model does not take the request (tools, pictures), so another model of the same
            provider is worth a try.
        local_shortage: Whether this machine has run out of something (descriptors, ports, memory, threads). Such a
            failure says nothing about the target, and does not count against it.
        headers: Header fields of the failed response, by case-insensitive name; empty if there was no response.
    """

    default_failure_type: ClassVar[FailureType] = FailureType.UNKNOWN

    def __init__(
        self,
        message: str = "",
        *,
        failure_type: FailureType | None = None,
        provider: str | None = None,
        model: str | None = None,
        status_code: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        attempts: Sequence[TraceRecord] = (),
        final: bool = False,
        sent: bool = True,
        response: LLMResponse | None = None,
        ask_again: bool = False,
        of_model: bool = False,
        local_shortage: bool = False,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(message)
        self.failure_type = self._known_type(failure_type)
        self.provider = provider
        self.model = model
        self.status_code = status_code
        self.retry_after = retry_after
        self.request_id = request_id
        self.attempts: tuple[TraceRecord, ...] = tuple(attempts)
        self.final = final
        self.sent = sent
        self.response = response
        self.ask_again = ask_again
        self.of_model = of_model
        self.local_shortage = local_shortage
        self.headers = headers

    @property
    def provider_request_id(self) -> str | None:
        """The id that the vendor gave the failed request, to quote to its support; None if it gave none."""
        return request_id_in(self.headers)

    @classmethod
    def _known_type(cls, failure_type: object) -> FailureType:
        """Return `failure_type`, which may be given as text; the type of the class if it is None or unknown."""
        try:
            return FailureType(failure_type) if failure_type else cls.default_failure_type  # type: ignore[arg-type]
        except ValueError:
            return cls.default_failure_type

    @property
    def message(self) -> str:
        """The message alone, without the list of attempts."""
        return str(self.args[0]) if self.args else ""

    @property
    def cause(self) -> BaseException | None:
        """The exception this one was raised from (the last attempt's failure), if any."""
        return self.__cause__

    def __str__(self) -> str:
        return "\n".join([self.message, *_attempt_lines(self.attempts, self.message)])

    def __repr__(self) -> str:
        shown = {"provider": self.provider, "model": self.model, "status_code": self.status_code}
        extra = "".join(f", {k}={v!r}" for k, v in shown.items() if v is not None)
        return f"{type(self).__name__}({self.failure_type.value}, {self.message!r}{extra})"


class ConfigError(LLMRouterError):
    """The configuration cannot be used.

    `findings` lists every mistake as ``file:line:column: path: message (did you mean ...?)``.
    """

    default_failure_type = FailureType.INVALID_REQUEST

    def __init__(self, message: str = "", *, findings: Sequence[str] = (), **details: Any) -> None:
        super().__init__(message, **details)
        self.findings: tuple[str, ...] = tuple(findings)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {finding}" for finding in self.findings)])


class PolicyError(LLMRouterError):
    """A routing policy raised, or chose a provider that does not exist."""


class RouterClosedError(LLMRouterError):
    """The router was used after `close`."""

    default_failure_type = FailureType.UNAVAILABLE


class LLMTimeoutError(LLMRouterError):
    """No complete answer within the attempt's timeout or the call's deadline, or HTTP 408."""

    default_failure_type = FailureType.TIMEOUT


class RateLimitError(LLMRouterError):
    """Too many requests (HTTP 429). `retry_after` says how long to wait, if the vendor named a time."""

    default_failure_type = FailureType.RATE_LIMIT


class OverloadedError(LLMRouterError):
    """The vendor has no capacity at the moment (HTTP 503, 529)."""

    default_failure_type = FailureType.OVERLOADED


class ProviderError(LLMRouterError):
    """The provider failed: other 5xx, 409, 425, connection refused or dropped, child process crashed."""

    default_failure_type = FailureType.PROVIDER_ERROR


class InvalidResponseError(LLMRouterError):
    """The reply is not an answer: not JSON, no choices, HTML, a redirect, incomplete."""

    default_failure_type = FailureType.INVALID_RESPONSE


class AuthenticationError(LLMRouterError):
    """The API key is missing or was rejected (HTTP 401, 403)."""

    default_failure_type = FailureType.AUTH


class QuotaExceededError(LLMRouterError):
    """The plan or balance is used up (HTTP 402, insufficient_quota, the plan limit of a CLI)."""

    default_failure_type = FailureType.QUOTA


class BudgetExceededError(QuotaExceededError):
    """A budget of the configuration is spent. Nothing was sent; `retry_after` says when the next period begins."""


class ModelNotFoundError(LLMRouterError):
    """The provider does not know the model or the address (HTTP 404)."""

    default_failure_type = FailureType.MODEL_NOT_FOUND


class ContextLengthError(LLMRouterError):
    """The prompt does not fit into the model's context window, or HTTP 413."""

    default_failure_type = FailureType.CONTEXT_LENGTH


class ContentFilterError(LLMRouterError):
    """The vendor's content filter blocked the prompt or the answer."""

    default_failure_type = FailureType.CONTENT_FILTER


class InvalidRequestError(LLMRouterError):
    """The request itself is wrong (bad messages or options, HTTP 400, 422)."""

    default_failure_type = FailureType.INVALID_REQUEST


class UnrecordedRequestError(InvalidRequestError):
    """A cassette plays recorded answers and does not have the request; the message says how the nearest one differs."""


class ContractViolationError(LLMRouterError):
    """The answer violates the JSON contract of the request (`json_mode`, `schema`). `response` holds the answer."""

    default_failure_type = FailureType.CONTRACT_VIOLATION


class UnavailableError(LLMRouterError):
    """No target could be asked: each is unavailable, at its limit, or cannot serve the request."""

    default_failure_type = FailureType.UNAVAILABLE


class UnknownFailureError(LLMRouterError):
    """A provider raised an exception that fits none of the other classes."""

    default_failure_type = FailureType.UNKNOWN


_BY_TYPE: dict[FailureType, type[LLMRouterError]] = {
    cls.default_failure_type: cls
    for cls in (
        LLMTimeoutError, RateLimitError, OverloadedError, ProviderError, InvalidResponseError,
        AuthenticationError, QuotaExceededError, ModelNotFoundError, ContextLengthError, ContentFilterError,
        InvalidRequestError, ContractViolationError, UnavailableError, UnknownFailureError,
    )
}  # fmt: skip


def error_for(failure_type: FailureType, message: str, **details: Any) -> LLMRouterError:
    """Return an error of the class for `failure_type`. `details` are passed to `LLMRouterError`."""
    cls = _BY_TYPE.get(failure_type, LLMRouterError)
    return cls(message, failure_type=failure_type, **details)


def _attempt_lines(attempts: Sequence[TraceRecord], message: str) -> list[str]:
    """Return a line for each attempt and each skipped target: target, failure, duration, error message.

    Return no lines if `message` already describes the only attempt.
    """
    shown = [record for record in attempts if record.provider is not None]
    if len(shown) == 1:
        # A record leaves out the parts of an answer that the message quotes.
        told = (shown[0].error or "").removesuffix(" …")
        if any(f"{before}{shown[0].target}: {told}" in message for before in (" at ", "can be asked (")):
            return []
    width = max((len(record.target) for record in shown), default=0)
    lines = []
    for record in shown:
        number = "-" if record.attempt is None else f"{record.attempt + 1}."
        status = "" if record.status_code is None else f" {record.status_code}"
        what = record.outcome if record.outcome == "skipped" else f"{record.failure_type or record.outcome}{status}"
        took = "" if record.attempt is None else f"  {record.elapsed_ms / 1000:.2f} s"
        lines.append(f"  {number:<2} {record.target:<{width}}  {what}{took}  {record.error or ''}".rstrip())
    return lines
