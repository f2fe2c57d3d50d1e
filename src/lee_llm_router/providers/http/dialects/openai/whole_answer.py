"""Reads a whole chat completion, and errors that come instead with 200. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from lee_llm_router._util.lenient_json import read_json
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import is_error
from lee_llm_router.providers.http.dialects.errors import failure_within
from lee_llm_router.providers.http.dialects.finish_reasons import broken_off, calls_are_lost, known_word, may_be_empty
from lee_llm_router.providers.http.dialects.json_body import decode_json, describe_body, invalid_answer, string
from lee_llm_router.providers.http.dialects.openai.answer_details import (
    details_of,
    joined_messages,
    logprobs_of,
    transcript_of,
)
from lee_llm_router.providers.http.dialects.openai.answers import (
    cost_of,
    has_content,
    reasoning_of,
    refused,
    says_more,
    text_of,
    usage_in,
    usage_of,
    usual_content,
)
from lee_llm_router.providers.http.dialects.openai.tool_calls import calls_in, whole_calls, with_own_ids
from lee_llm_router.response.types import UNREPORTED, LLMResponse, ToolCall, make_response

_MESSAGE_NAMES = ("message", "msg", "detail", "error_msg", "error_message", "status_msg")


def whole_answer(reply: HTTPReply, answer: Mapping[str, Any]) -> LLMResponse:
    """Return the answer in the JSON object of a 200.

    The finish reason may be missing, since a few small servers never send one. In the API reference null means "still
    being written", so such an answer is incomplete, unless the settings say that the server sends no reasons
    (``stream_end: mark``). Empty text is an answer. Null is one only with tool calls or other content, or if the token
    limit was used up before the first word.

    Raises:
        InvalidResponseError: it holds no answer.
        ContentFilterError: the answer was refused; `response` holds the partial answer.
        LLMRouterError: an error came instead of an answer; the type is the one that it names.
    """
    choices = own_choices(answer.get("choices"), several=asks_for_several(reply))
    if is_error(answer, has_choices=bool(choices)) or (not choices and _has_message(answer)):
        raise failure_within(reply, answer)
    if not choices:
        raise invalid_answer(reply, f"without choices: {describe_body(reply, is_no_answer=True)}")
    messages = [_message_of(reply, choice) for choice in choices]
    reason = _finish_reason(reply, choices)
    calls: list[ToolCall] = []
    own_calls: list[Any] = []
    for message in messages:
        found = calls_in(message)
        if found is not None:
            cut = known_word(reason, calls_tools=False) == "length"
            calls += whole_calls(reply, found, first=len(calls), cut=cut)
            own_calls += found
    usage = usage_in(answer, choices[0])
    joined = messages[0] if len(messages) == 1 else joined_messages(messages)
    probabilities = [one for choice in choices if choice.get("logprobs") for one in logprobs_of(choice)]
    response = make_response(
        text=_each(messages, partial(_text_of, reply)),
        tool_calls=with_own_ids(calls),
        reasoning=_each(messages, reasoning_of) or None,
        finish_reason=known_word(reason, calls_tools=bool(calls)),
        usage=usage_of(usage) or UNREPORTED,
        cost_usd=cost_of(usage),
        model=string(answer.get("model")),
        raw=answer,
        request_bytes=reply.request_bytes,
        details=details_of(reply, answer, joined, reason=reason, logprobs=probabilities, calls=own_calls),
    )
    _check_whole(reply, reason, messages, response)
    return response


def _each(messages: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], str]) -> str:
    """Return what `read` returns for each message, joined; nearly always there is one."""
    return read(messages[0]) if len(messages) == 1 else "".join(map(read, messages))


def _text_of(reply: HTTPReply, message: Mapping[str, Any]) -> str:
    return text_of(reply, message.get("content")) or transcript_of(message)


def _refusal_of(message: Mapping[str, Any]) -> str:
    return string(message.get("refusal")) or ""


def decode_answer(reply: HTTPReply) -> dict[str, Any]:
    """Return the JSON object in the body; an error may be in a list, like Google's.

    Raises:
        InvalidResponseError: the body is anything else.
    """
    if not reply.body.startswith(b"{") and reply.body[:16].lstrip().startswith(b"["):
        with suppress(ValueError):
            value = read_json(reply.body)
            if isinstance(value, list) and value and isinstance(value[0], dict) and value[0].get("error"):
                return value[0]
    return decode_json(reply)


def asks_for_several(reply: HTTPReply) -> bool:
    """Return whether the request asked for several choices, so that their numbers distinguish them."""
    wanted = reply.asked.get("n")
    return wanted is not None and wanted != 1


def own_choices(choices: Any, *, several: bool) -> list[dict[str, Any]]:
    """Return the entries of `choices` that form the answer; empty if there are none.

    If one choice was requested, all entries belong to it, whatever their numbers: some servers use separate entries for
    text and tool calls, or count tokens. Otherwise the answer is the first entry, with all others of its number.
    """
    if type(choices) is list and len(choices) == 1 and type(choices[0]) is dict:  # nearly all
        return choices
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        return []
    if not several or len(choices) < 2:
        return choices
    lowest = min(map(choice_number, choices))
    return [choice for choice in choices if choice_number(choice) == lowest]


def streamed_choices(choices: list[Any], *, several: bool) -> list[Any]:
    """As `own_choices`, for one event: if several were requested, return those with the number 0."""
    if not several or not all(isinstance(choice, dict) for choice in choices):
        return choices
    return [choice for choice in choices if choice_number(choice) == 0]


def choice_number(choice: Mapping[str, Any]) -> int:
    """Return the number of a choice; 0 if it has none."""
    index = choice.get("index")
    return index if type(index) is int else 0


def _message_of(reply: HTTPReply, choice: Mapping[str, Any]) -> dict[str, Any]:
    if choice.get("error"):
        raise failure_within(reply, choice["error"])
    message = choice.get("message")
    if not isinstance(message, dict):
        raise invalid_answer(reply, f"without a message: {describe_body(reply, is_no_answer=True)}")
    content = message.get("content")
    return {**message, "content": usual_content(content)} if isinstance(content, list) else message


def _finish_reason(reply: HTTPReply, choices: Sequence[Mapping[str, Any]]) -> str:
    """Return the finish reason of all entries; empty if they have none.

    Raises:
        InvalidResponseError: it is null, so the answer is still being written.
    """
    if len(choices) == 1 and type(only := choices[0].get("finish_reason")) is str:
        return only
    reasons = [choice.get("finish_reason", "") for choice in choices]
    texts = [reason for reason in reasons if isinstance(reason, str)]
    unfinished = None in reasons and not any(texts) and not expects_no_reason(reply)
    if unfinished or not all(reason is None or isinstance(reason, str) for reason in reasons):
        raise invalid_answer(reply, "not finished (finish_reason is not text)")
    found = ""
    for reason in texts:
        found = graver(reply, found, reason)
    return found


def graver(reply: HTTPReply, known: str, newer: str) -> str:
    """Return which of two finish reasons of one answer counts: the later, unless the earlier one says more."""
    if not newer or not known:
        return newer or known
    return known if broken_off(reply, known) is not None or known_word(known, calls_tools=False) == "length" else newer


def expects_no_reason(reply: HTTPReply) -> bool:
    """Return whether the server is known to send no finish reasons."""
    return getattr(reply.settings, "stream_end", None) == "mark"


def _check_whole(reply: HTTPReply, reason: str, messages: Sequence[Mapping[str, Any]], response: LLMResponse) -> None:
    refusal = _each(messages, _refusal_of)
    if refusal:
        raise refused(reply, refusal, response)
    failed = broken_off(reply, reason, response)
    if failed is not None:
        raise failed
    if response.text or response.tool_calls:
        return
    content = any(map(has_content, messages))
    if not content and response.finish_reason != "length":
        raise invalid_answer(reply, f"without text and without tool calls: {describe_body(reply, is_no_answer=True)}")
    if any(map(says_more, messages)):
        return
    if calls_are_lost(reason):
        raise invalid_answer(reply, "without the tool calls for which it stopped")
    if not may_be_empty(reason):
        raise invalid_answer(reply, f"empty, and ended for an unknown reason ({reply.quote(reason, 60)})")


def _has_message(value: Mapping[str, Any]) -> bool:
    """Return whether an object has an error text. An event with one may be a note; a whole body with one is an
    error."""
    said = (value.get(name) for name in _MESSAGE_NAMES)
    return any(isinstance(message, str) and message for message in said) or bool(value.get("errors"))
