"""The texts that a record may hold: an error's, a provider's short words, and with ``capture: full`` all of them.

How this works
--------------
Without ``capture: full``, no word of an answer may reach a record, an event or a log. But the message of an error may
quote one: a refusal, a body that is not JSON, a parser's exception that shows its input. The error's own words precede
the quotation, which begins with a colon or a quotation mark. So if an answer may have come, the message is cut there.
Errors that vendors send instead of an answer stay complete, as do messages about the engine's own rules; the latter
quote nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.printable import printable
from lee_llm_router._util.scrubbing import MASK, bounded, is_sensitive_header, scrub
from lee_llm_router.engine.acceptance import BROKEN_CONTRACT, NOT_ACCEPTED
from lee_llm_router.engine.attempt_secrets import secrets_of
from lee_llm_router.engine.plan import Attempt, RouterParts
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.response.types import LLMResponse
from lee_llm_router.telemetry.record_json import plain_value

if TYPE_CHECKING:
    from lee_llm_router.engine.operation import Operation

MAX_CAPTURED = 1_000_000
"""The most characters of each text field that ``capture: full`` adds to a record."""

_MAX_WORD = 100
"""The most characters of a finish reason or of the served model's name."""
_MAX_WORDS = 500
"""The most words that are remembered."""
_MAY_QUOTE = frozenset(
    {FailureType.INVALID_RESPONSE, FailureType.CONTENT_FILTER, FailureType.UNKNOWN, FailureType.CONTRACT_VIOLATION}
)
"""Failures after which an answer may have come."""
_OWN_SENTENCES = (BROKEN_CONTRACT, NOT_ACCEPTED)
"""Prefixes of the engine's own messages, which quote nothing of the answer."""
_QUOTATION = late_pattern(r":\s|[\"'`“”‘’«»„]")


def error_text(error: LLMRouterError, *, quotes: bool) -> str:
    """Return the message of `error` for a record.

    Args:
        error: The error, already without secrets.
        quotes: Whether it may quote an answer.
    """
    message = error.message
    if not quotes and _may_quote(error):
        message = _without_quotation(message)
    return bounded(message)


def _may_quote(error: LLMRouterError) -> bool:
    if not error.sent or error.failure_type not in _MAY_QUOTE or error.message.startswith(_OWN_SENTENCES):
        return False
    # With such a status a vendor sends an error instead of an answer. Exit codes of programs are lower.
    return error.status_code is None or error.status_code < 300


def _without_quotation(message: str) -> str:
    found = _QUOTATION.search(message)
    return message if found is None else message[: found.start()].rstrip(" (") + " …"


def provider_word(text: Any, attempt: Attempt, parts: RouterParts) -> str | None:
    """Return a finish reason or a served model printable, bounded and without secrets; None if it is not text.

    Nearly all answers have the same words, so the results are remembered.
    """
    if text is None or text in ("stop", "length", "tool_calls"):
        return text  # type: ignore[no-any-return]
    target = attempt.target
    if text == target.model:
        return target.names[1]
    if not isinstance(text, str):
        return None
    if len(text) > _MAX_WORD:
        return bounded(scrub(text[: 40 * _MAX_WORD], secrets_of(attempt, parts.secrets)), _MAX_WORD)
    known, words = parts.provider_words.get((target.provider, text)), parts.provider_words
    if known is None:
        if len(words) >= _MAX_WORDS:
            words.clear()
        known = printable(scrub(text, secrets_of(attempt, parts.secrets)), _MAX_WORD)
        words[target.provider, text] = known
    return known


def provider_id(text: Any, attempt: Attempt, parts: RouterParts) -> str | None:
    """Same as `provider_word`, for a text that differs in each answer."""
    if not isinstance(text, str) or not text:
        return None
    return printable(scrub(text[: 40 * _MAX_WORD], secrets_of(attempt, parts.secrets)), _MAX_WORD)


def captured_fields(
    operation: Operation, attempt: Attempt, response: LLMResponse | None, secrets: Iterable[str]
) -> dict[str, Any]:
    """Return the fields that ``capture: full`` adds to a record: each bounded, and without known keys."""
    return captured_texts(operation, attempt.request, response, secrets_of(attempt, secrets))


def captured_texts(
    operation: Operation, request: Any, response: LLMResponse | None, secrets: Iterable[str]
) -> dict[str, Any]:
    """Same as `captured_fields`, for a request and its response."""
    shown = partial(_shown, change=partial(scrub, secrets=secrets))
    messages = operation.messages(request)
    fields: dict[str, Any] = {
        "messages": tuple(shown(messages)) if isinstance(messages, tuple) else shown(messages),
        "tools": _optional(shown(operation.tools(request))),
        "settings": shown(_masked(operation.settings(request))),
    }
    if response is not None:
        fields["text"] = shown(response.text)
        fields["reasoning"] = shown(response.reasoning) if response.reasoning else None
        calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in response.tool_calls]
        fields["tool_calls"] = _optional(shown(calls))
    return fields


def _shown(value: Any, change: Callable[[str], str]) -> Any:
    return plain_value(value, MAX_CAPTURED, change)


def _optional(items: list[Any]) -> tuple[Any, ...] | None:
    return tuple(items) or None


def _masked(value: Any) -> Any:
    """Return `value` with a mask for each text in it that is named like a key."""
    if isinstance(value, Mapping):
        return {
            name: MASK if isinstance(item, str) and is_sensitive_header(str(name)) else _masked(item)
            for name, item in value.items()
        }
    return [_masked(item) for item in value] if isinstance(value, (list, tuple)) else value
