"""What a whole message of Anthropic's API and the end of a streamed one share: reading it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.lenient_json import written_json
from lee_llm_router._util.numbers import count
from lee_llm_router.errors import ContentFilterError, LLMRouterError
from lee_llm_router.providers.http.dialects.anthropic.blocks import block_kind, can_be_sent, is_thinking, of_an_answer
from lee_llm_router.providers.http.dialects.anthropic.errors import failure_within
from lee_llm_router.providers.http.dialects.anthropic.messages import DIALECT
from lee_llm_router.providers.http.dialects.anthropic.request import origin_of
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.finish_reasons import broken_off, known_word
from lee_llm_router.providers.http.dialects.json_body import describe_body, invalid_answer, mapping, string
from lee_llm_router.response.details import AnswerDetails, Citation, NativeTurn
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, ToolCall, make_response, make_usage

BETWEEN_THOUGHTS = "\n\n"
"""Separates two blocks of thinking."""
_REASONS = {
    "end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length",
    "model_context_window_exceeded": "length", "pause_turn": "pause",
}  # fmt: skip
_PLAIN = frozenset({"text", "tool_use"})
"""Types of blocks that can be rebuilt from text and tool calls."""
_READ = _PLAIN | {"thinking", "redacted_thinking"}


@dataclass(slots=True)
class ReadBlocks:
    """The contents of an answer's blocks."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    others: bool = False
    """Whether there are blocks of other types: from the vendor's own tools, or unknown ones."""


def whole_answer(reply: HTTPReply, answer: Mapping[str, Any]) -> LLMResponse:
    """Return the answer in the JSON object of a 200.

    Raises:
        InvalidResponseError: it holds no complete answer.
        ContentFilterError: the answer was refused; `response` holds the partial answer.
        LLMRouterError: an error came instead of an answer; the type is the one that it names.
    """
    content, reason = answer.get("content"), answer.get("stop_reason", "")
    if answer.get("type") == "error" or answer.get("error"):
        raise failure_within(reply, answer)
    if isinstance(content, str) and reason:
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise invalid_answer(reply, f"without content: {describe_body(reply, is_no_answer=True)}")
    if not isinstance(reason, str):
        raise invalid_answer(reply, "not finished (stop_reason is not text)")
    read = read_blocks(reply, content, cut=finish_word(reason, calls_tools=False) == "length")
    response = make_response(
        text=read.text,
        tool_calls=tuple(read.calls),
        reasoning=read.reasoning or None,
        finish_reason=finish_word(reason, calls_tools=bool(read.calls)) or None,
        usage=usage_of(answer.get("usage")) or UNREPORTED,
        model=served_model(answer),
        raw=answer,
        request_bytes=reply.request_bytes,
        details=details_of(reply, answer, content, read),
    )
    failed = stopped_short(reply, answer, response)
    if failed is not None:
        raise failed
    check_not_lost(reply, reason, read)
    return response


def read_blocks(reply: HTTPReply, blocks: Sequence[dict[str, Any]], *, cut: bool = False) -> ReadBlocks:
    """Return the contents of `blocks`, with new ids for calls whose id is missing or duplicate.

    Raises:
        InvalidResponseError: a block is malformed.
    """
    found, ids = ReadBlocks(), set[str]()
    for number, block in enumerate(blocks):
        kind = block_kind(block)
        if kind == "text":
            found.text += _text_in(reply, block, "text", number)
        elif kind == "thinking":
            thought = _text_in(reply, block, "thinking", number)
            found.reasoning += BETWEEN_THOUGHTS + thought if found.reasoning and thought else thought
        elif kind == "tool_use":
            name = string(block.get("name"))
            if name is None:
                raise invalid_answer(reply, f"malformed (content[{number}] names no tool)")
            call_id = own_id(string(block.get("id")), len(found.calls), ids)
            arguments = arguments_of(block.get("input"), cut=cut)
            found.calls.append(ToolCall(id=call_id, name=name, arguments=arguments))
        elif kind != "redacted_thinking":
            found.others = True
    return found


def _text_in(reply: HTTPReply, block: Mapping[str, Any], name: str, number: int) -> str:
    text = block.get(name)
    if text is not None and not isinstance(text, str):
        raise invalid_answer(reply, f"malformed (content[{number}].{name} is not text)")
    return text or ""


def own_id(call_id: str | None, position: int, taken: set[str]) -> str:
    """Return the id of a call; a new one if it is missing or belongs to an earlier call. Adds it to `taken`."""
    found = call_id or f"call_{position}"
    while found in taken:
        found = f"{found}_{position}"
    taken.add(found)
    return found


def arguments_of(value: Any, *, cut: bool = False) -> str:
    """Return the arguments of a call as JSON text. With `cut`, missing ones do not count as empty."""
    if isinstance(value, str):
        return value
    return ("" if cut else "{}") if value is None else written_json(value).decode()


def finish_word(reason: str, *, calls_tools: bool) -> str:
    """Return a stop reason in OpenAI's words; empty if there is none."""
    word = _REASONS.get(reason) or known_word(reason, calls_tools=calls_tools) or ""
    return "tool_calls" if calls_tools and word in ("stop", "") else word


def stopped_short(
    reply: HTTPReply, message: Mapping[str, Any], response: LLMResponse | None = None
) -> LLMRouterError | None:
    """Return the error for the stop reason of a message; None for an ordinary one."""
    reason = str(message.get("stop_reason") or "")
    if reason in _REASONS:
        return None
    if reason == "refusal":
        details = mapping(message.get("stop_details"))
        category, told = string(details.get("category")), string(details.get("explanation"))
        said = f" ({reply.quote(category, 60)})" if category else ""
        said += f": {reply.quote(told)}" if told else ""
        return ContentFilterError(f"the model refused to answer{said}", status_code=reply.status, response=response)
    return broken_off(reply, reason, response)


def check_not_lost(reply: HTTPReply, reason: str, read: ReadBlocks) -> None:
    """Raise if the model stopped to call a tool, but no call came."""
    if reason == "tool_use" and not read.calls and not read.others:
        raise invalid_answer(reply, "without the tool calls for which it stopped")


def usage_of(usage: Any) -> LLMUsage | None:
    """Return the reported token counts: the input includes cache reads and cache writes.

    An impossible number counts as unreported, and None means that nothing was reported.
    """
    if not isinstance(usage, dict):
        return None
    fresh, output = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    read, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    prompt = None if fresh is None else fresh + (read or 0) + (written or 0)
    details, by_time = usage.get("output_tokens_details"), usage.get("cache_creation")
    found = make_usage(
        prompt_tokens=prompt,
        completion_tokens=output,
        total_tokens=None if prompt is None or output is None else prompt + output,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=count(by_time.get("ephemeral_1h_input_tokens")) or None
        if isinstance(by_time, dict)
        else None,
        reasoning_tokens=count(details.get("thinking_tokens")) if isinstance(details, dict) else None,
    )
    return found or None


def served_model(message: Mapping[str, Any]) -> str | None:
    """Return the model that answered: the other one, if the vendor fell back."""
    iterations = mapping(message.get("usage")).get("iterations")
    for entry in map(mapping, reversed(iterations if isinstance(iterations, list) else [])):
        if entry.get("type") == "fallback_message" and string(entry.get("model")):
            return string(entry["model"])
    return string(message.get("model"))


def details_of(
    reply: HTTPReply, message: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]], read: ReadBlocks
) -> AnswerDetails:
    """Return the details of an answer."""
    usage = mapping(message.get("usage"))
    has_parts = read.others or sum(block_kind(block) == "text" for block in blocks) > 1
    return AnswerDetails(
        id=string(message.get("id")),
        parts=tuple(block for block in blocks if block_kind(block) not in _READ or block_kind(block) == "text")
        if has_parts
        else (),
        citations=tuple(_citations(blocks)),
        # Fast answers have the standard tier too, but other prices.
        service_tier=string("fast" if usage.get("speed") == "fast" else usage.get("service_tier")),
        finish_reason=string(message.get("stop_reason")),
        native=_native(reply, blocks, read.calls),
    )


def _citations(blocks: Sequence[Mapping[str, Any]]) -> list[Citation]:
    found: list[Citation] = []
    start = 0
    for block in blocks:
        if block_kind(block) != "text":
            continue
        end = start + len(block.get("text") or "")
        given = block.get("citations")
        cited = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        found += [_citation(one, start, end) for one in cited]
        start = end
    return found


def _citation(cited: Mapping[str, Any], start: int, end: int) -> Citation:
    return Citation(
        url=string(cited.get("url")) or string(cited.get("source")),
        title=string(cited.get("title")) or string(cited.get("document_title")),
        quote=string(cited.get("cited_text")),
        start=start,
        end=end,
    )


def _native(reply: HTTPReply, blocks: Sequence[Mapping[str, Any]], calls: Sequence[ToolCall]) -> NativeTurn | None:
    """Return the blocks to send back; None if text and tool calls say it all, or if they may not go back."""
    kept = [block for block in blocks if block_kind(block) != "text" or (block.get("text") or "").strip()]
    kinds = {block_kind(block) for block in kept}
    if kinds <= _PLAIN or "fallback" in kinds or is_thinking(kept[-1]):
        return None
    if not all(map(of_an_answer, kept)):
        return None  # for example, the answer was cut within a call
    if reply.settings is None or not can_be_sent(kept):
        return None
    model = (reply.request.model if reply.request is not None else None) or reply.settings.model
    ids = iter(calls)
    content = [{**block, "id": next(ids).id} if block_kind(block) == "tool_use" else block for block in kept]
    return NativeTurn(dialect=DIALECT, origin=origin_of(reply.settings, model), content=content)
