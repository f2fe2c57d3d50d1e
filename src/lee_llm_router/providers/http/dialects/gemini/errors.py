"""Reads the errors of Google's APIs: `google.rpc.Status`. Pure.

How this works. `dialects/errors.py` reads what any server's error may say. Google adds `details`, a list of typed
notes, which are more precise and take precedence:

- `ErrorInfo.reason`: a code. `API_KEY_INVALID` comes with 400;
- `QuotaFailure.violations`: which quotas are used up. A daily one (`PerDay`) counts as used up whatever the wait:
  `RetryInfo` then says a few seconds. A limit of 0 means that there is no access;
- `RetryInfo.retryDelay`: the wait, which is rarely in a header.

An error within a stream may name its status in words only (`RESOURCE_EXHAUSTED`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.lenient_json import read_json
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http.dialects import errors
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.providers.http.dialects.sse import BOM
from lee_llm_router.providers.http.dialects.statuses import http_error

F = FailureType

_REASONS: tuple[tuple[re.Pattern[str], FailureType], ...] = (
    (re.compile(r"BILLING|PREPAY|SPEND|CREDIT(?!ENTIAL)"), F.QUOTA),
    (re.compile(r"CAPACITY"), F.OVERLOADED),
    (re.compile(r"RATE_LIMIT"), F.RATE_LIMIT),
    (
        re.compile(
            r"API_KEY|ACCESS_TOKEN|CREDENTIALS|ACCOUNT|CONSUMER|SERVICE_DISABLED|SERVICE_NOT_VISIBLE|USER_PROJECT"
            r"|PERMISSION|SECURITY_POLICY|LOCATION"
        ),
        F.AUTH,
    ),
)
"""What the code in an `ErrorInfo` means, according to its words."""
_STATUSES = {
    "CANCELLED": 499, "UNKNOWN": 500, "INVALID_ARGUMENT": 400, "DEADLINE_EXCEEDED": 504, "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401, "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400, "ABORTED": 409, "OUT_OF_RANGE": 400, "UNIMPLEMENTED": 501, "INTERNAL": 500,
    "UNAVAILABLE": 503, "DATA_LOSS": 500,
}  # fmt: skip
"""The HTTP status of each code of `google.rpc.Code`."""
_LASTING = re.compile(r"per[_ -]?(?:day|week|month|year)", re.IGNORECASE)
_PASSING = re.compile(r"per[_ -]?(?:second|minute|hour)", re.IGNORECASE)
_NO_ACCESS = re.compile(r"\blimit: ?0(?![\d.])")
_LACKS = re.compile(r"\bnot (?:enabled|supported) (?:for|by) (?:models/|th(?:is|e) model)")
"""Words of a 400 that blame something in the request: the model exists, but does not support it."""
_OF_VERTEX = re.compile(r"quota exceeded for aiplatform\.googleapis\.com/", re.IGNORECASE)
"""Vertex's quotas are per minute, even if the error suggests an increase, unless they are named as daily."""
_OF_ANOTHER = re.compile(r"\b(?:files?|cached ?contents?|corpus|bucket|(?:storage )?object)\b", re.IGNORECASE)
"""Words of a 403 about something that the request names, such as another key's file: the key itself is good."""
_SHORT_WAIT = 3600.0
"""Seconds: no daily quota is refilled within them, whatever the server says."""
_READ = 100_000
_MAX_NOTES = 50


@dataclass(slots=True)
class _Facts:
    """What Google's own fields say about an error."""

    status: int | None = None
    reasons: list[str] = field(default_factory=list)
    quotas: list[str] = field(default_factory=list)
    """The quotas that are used up, by any names they have."""
    has_no_access: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether a quota of a day or longer is used up."""
        return any(_LASTING.search(quota) for quota in self.quotas)


def failure(reply: HTTPReply) -> LLMRouterError:
    """Return the error for a response with an unsuccessful status."""
    value: Any = None
    if len(reply.body) <= _READ:
        try:
            value = read_json(reply.body.removeprefix(BOM))
        except ValueError:
            value = None
    return _refined(reply, errors.failure(reply), _facts(value))


def failure_within(reply: HTTPReply, value: Any) -> LLMRouterError:
    """Return the error for an error that came with 200: the object that holds it."""
    facts = _facts(value)
    if facts.status is not None:
        # It counts as the response's status, even if it is given only in words.
        value = {"error": {**_error_in(value), "code": facts.status}}
    return _refined(reply, errors.failure_within(reply, value), facts)


def _refined(reply: HTTPReply, error: LLMRouterError, facts: _Facts) -> LLMRouterError:
    """Return `error`, or another one if `facts` say more precisely what failed."""
    kind, wait = _kind(error, facts), error.retry_after
    if facts.has_no_access or (facts.is_lasting and wait is not None and wait < _SHORT_WAIT):
        wait = None
    if kind is error.failure_type and wait == error.retry_after:
        return error
    better = http_error(
        reply, error.message, kind=kind, status=error.status_code, wait=wait, final=False, response=error.response
    )
    better.retry_after = wait
    return better


def _kind(error: LLMRouterError, facts: _Facts) -> FailureType:
    known = error.failure_type
    if error.status_code == 429 or known in (F.RATE_LIMIT, F.QUOTA):
        judged = _of_quota(error, facts)
        if judged is not known:
            return judged
    if known is F.AUTH and error.status_code == 403 and not facts.reasons and _OF_ANOTHER.search(error.message):
        return F.INVALID_REQUEST
    if known is F.MODEL_NOT_FOUND and error.status_code == 400 and _LACKS.search(error.message):
        return F.INVALID_REQUEST
    if known in (F.INVALID_REQUEST, F.AUTH, F.MODEL_NOT_FOUND, F.RATE_LIMIT, F.UNKNOWN):
        for reason in facts.reasons:
            for pattern, kind in _REASONS:
                if pattern.search(reason):
                    return known if known is F.RATE_LIMIT and kind is F.AUTH else kind
    return known


def _of_quota(error: LLMRouterError, facts: _Facts) -> FailureType:
    """Return what reaching a limit means: a wait, or a used-up quota."""
    known = error.failure_type
    if facts.has_no_access or facts.is_lasting:
        return F.QUOTA
    passes = all(map(_PASSING.search, facts.quotas)) if facts.quotas else _OF_VERTEX.search(error.message)
    if known is F.QUOTA and passes:
        return F.RATE_LIMIT
    if known is F.RATE_LIMIT and error.retry_after is not None and error.retry_after > _SHORT_WAIT:
        return F.QUOTA
    return known


def _facts(value: Any) -> _Facts:
    facts, error = _Facts(), _error_in(value)
    code, status, message = error.get("code"), error.get("status"), error.get("message")
    if type(code) is int and 400 <= code < 600:
        facts.status = code
    elif isinstance(status, str):
        facts.status = _STATUSES.get(status.upper())
    details = error.get("details")
    for note in details[:_MAX_NOTES] if isinstance(details, list) else ():
        if not isinstance(note, dict):
            continue
        if isinstance(note.get("reason"), str):
            facts.reasons.append(note["reason"].upper()[:200])
        for violation in _violations(note):
            facts.quotas.append(" ".join(str(violation.get(name, ""))[:200] for name in ("quotaId", "quotaMetric")))
            facts.has_no_access |= str(violation.get("quotaValue", "")) == "0"
    if isinstance(message, str):
        facts.has_no_access |= _NO_ACCESS.search(message[:_READ]) is not None
        facts.quotas += [found[0] for found in _LASTING.finditer(message[:2000])] if not facts.quotas else []
    return facts


def _error_in(value: Any) -> Mapping[str, Any]:
    """Return the error object in a body or event; some are in a list."""
    if isinstance(value, list):
        value = value[0] if value else None
    return mapping(mapping(value).get("error", value))


def _violations(note: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = note.get("violations")
    for violation in found[:_MAX_NOTES] if isinstance(found, list) else ():
        if isinstance(violation, dict):
            yield violation
