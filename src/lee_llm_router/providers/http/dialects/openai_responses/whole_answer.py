"""Reads a whole response, and errors that come instead with 200. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import is_error
from lee_llm_router.providers.http.dialects.finish_reasons import broken_off, known_word
from lee_llm_router.providers.http.dialects.json_body import describe_body, invalid_answer, mapping, string
from lee_llm_router.providers.http.dialects.openai.answers import cost_of, refused
from lee_llm_router.providers.http.dialects.openai_responses.errors import failure_within
from lee_llm_router.providers.http.dialects.openai_responses.native_turn import DIALECT, native_items
from lee_llm_router.providers.http.dialects.openai_responses.output_items import Output, read_output
from lee_llm_router.providers.http.dialects.openai_responses.request import origin_of
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.providers.http.dialects.openai_responses.usage import usage_of
from lee_llm_router.response.details import AnswerDetails, NativeTurn
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, make_response

COMPLETED, INCOMPLETE = "completed", "incomplete"
FAILED = frozenset({"failed", "cancelled", "canceled", "expired", "error"})
"""States of a failed response."""
_UNFINISHED = frozenset({"queued", "in_progress", "created", "pending"})
_MESSAGES = ("message", "msg", "detail", "error_message", "errors")
_TOKENS = "max_output_tokens"
_LIMITS = frozenset({"max_messages", "max_tool_calls"})
"""Reasons, besides those that mention tokens, which mean that the answer was cut at a limit."""


def whole_answer(reply: HTTPReply, answer: Mapping[str, Any], state: str | None = None) -> LLMResponse:
    """Return the answer in a response object.

    Args:
        reply: The HTTP response that holds it.
        answer: The object. Its `status` may be missing, since some servers do not send it.
        state: The state according to its event, which takes precedence over its own `status`.

    Raises:
        InvalidResponseError: it holds no complete answer.
        ContentFilterError: the answer was refused; `response` holds the partial answer.
        LLMRouterError: the response failed, or an error came instead; the type is the one that it names.
    """
    output, status = answer.get("output"), state or _status(answer)
    if status in FAILED or is_error(answer, has_choices=bool(output)):
        raise _failed(reply, answer, status)
    if not isinstance(output, list):
        if any(answer.get(name) for name in _MESSAGES):
            raise failure_within(reply, answer)
        raise invalid_answer(reply, f"without output: {describe_body(reply, is_no_answer=True)}")
    if status in _UNFINISHED:
        raise invalid_answer(reply, f"not finished ({status})")
    reason = "" if status == COMPLETED else _reason(answer, status)
    said = reason or COMPLETED
    usage = usage_of(answer.get("usage")) or UNREPORTED
    if not reason and _used_up(reply, usage):
        reason = _TOKENS
    is_cut = bool(reason) and (reason in _LIMITS or known_word(reason, calls_tools=False) == "length")
    found = read_output(reply, output, cut=is_cut)
    response = make_response(
        text=found.text,
        tool_calls=found.calls,
        reasoning=found.reasoning,
        finish_reason="length" if is_cut else "tool_calls" if found.calls else "stop",
        usage=usage,
        cost_usd=cost_of(answer.get("usage")),
        model=string(answer.get("model")),
        raw=answer,
        request_bytes=reply.request_bytes,
        details=_details(reply, answer, output, found, said),
    )
    _check_whole(reply, response, found, reason, is_cut=is_cut)
    return response


def _status(answer: Mapping[str, Any]) -> str:
    """Return the state that a response reports; one that reports none is complete."""
    status = answer.get("status")
    return status if isinstance(status, str) and status else COMPLETED if status is None else "of no known kind"


def unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    """Return the response in a body, which may be its last event."""
    inner = body.get("response")
    return inner if isinstance(inner, dict) and "output" in inner and "output" not in body else body


def _failed(reply: HTTPReply, answer: Mapping[str, Any], status: str) -> LLMRouterError:
    error = answer.get("error")
    if error or answer.get("code") or answer.get("message") or status not in FAILED:
        return failure_within(reply, {"error": error} if error else answer)
    return error_for(FailureType.PROVIDER_ERROR, f"the response {status}", status_code=reply.status)


def _reason(answer: Mapping[str, Any], status: str) -> str:
    """Return why an incomplete answer ended; its status if it does not say."""
    return string(mapping(answer.get("incomplete_details")).get("reason")) or status


def _used_up(reply: HTTPReply, usage: LLMUsage) -> bool:
    """Return whether the answer has used up its token limit: llama.cpp says `completed` even if it was cut."""
    bound, used = reply.asked.get("max_output_tokens"), usage.completion_tokens
    return type(bound) is int and used is not None and used >= bound > 0


def _details(
    reply: HTTPReply, answer: Mapping[str, Any], output: Sequence[Any], found: Output, reason: str
) -> AnswerDetails:
    items = native_items(output)
    return AnswerDetails(
        id=string(answer.get("id")),
        parts=found.parts,
        citations=found.citations,
        logprobs=found.logprobs,
        service_tier=string(answer.get("service_tier")),
        finish_reason=reason,
        native=None if items is None else NativeTurn(dialect=DIALECT, origin=_origin(reply), content=items),
    )


def _origin(reply: HTTPReply) -> str:
    settings = reply.settings
    if not isinstance(settings, ResponsesConfig):
        return ""
    return origin_of(settings, (reply.request and reply.request.model) or settings.model)


def _check_whole(reply: HTTPReply, response: LLMResponse, found: Output, reason: str, *, is_cut: bool) -> None:
    """Raise if the response is incomplete."""
    if found.refusal:
        raise refused(reply, found.refusal, response)
    if reason and not is_cut:
        error = broken_off(reply, reason, response)
        raise error or _with_response(invalid_answer(reply, f"incomplete ({reply.quote(reason, 60)})"), response)
    if response.text or response.tool_calls or is_cut or found.has_content:
        return
    raise invalid_answer(reply, f"without text and without tool calls: {describe_body(reply, is_no_answer=True)}")


def _with_response(error: LLMRouterError, response: LLMResponse) -> LLMRouterError:
    """Return `error` with the partial answer."""
    error.response = response
    return error
