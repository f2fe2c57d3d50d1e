"""What whole chat completions and streamed chunks share: reading text, reasoning, token counts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lee_llm_router._util.numbers import amount, count
from lee_llm_router.errors import ContentFilterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import invalid_answer, mapping, string
from lee_llm_router.response.types import LLMResponse, LLMUsage, StreamChunk, make_usage

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Fields that hold reasoning as text. DeepSeek, vLLM; OpenRouter, Groq; Copilot; Ollama."""
USUAL_FIELDS = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "reasoning_content"})
"""Fields of nearly all deltas: a delta with only these needs no further search."""
_READ = USUAL_FIELDS | {"name", *REASONING_FIELDS}
_READ_PARTS = ("text", "thinking", "reasoning")
"""Types of content parts that are read."""
_TEXT_PARTS = ("text", "output_text", "input_text")
"""Types of parts that are text: of chat completions, and of the Responses API."""
_ABOUT = frozenset(
    {"id", "index", "type", "logprobs", "token_ids", "metadata", "provider_specific_fields", "content_filter_results"}
)
"""Fields of a message that describe the answer, but are not part of it."""
_ANNOTATING = ("reasoning", "thinking", "thought", "annotation", "citation", "signature")
"""Prefixes of fields that accompany an answer, but are no answer by themselves."""


def refused(reply: HTTPReply, refusal: str, response: LLMResponse | None = None) -> ContentFilterError:
    """Return the error for an answer that is a refusal; its words become the text of the error's `response`."""
    said = LLMResponse(text=refusal) if response is None else replace(response, text=response.text or refusal)
    return ContentFilterError("the model refused to answer", status_code=reply.status, response=said)


def text_of(reply: HTTPReply, content: Any) -> str | None:
    """Return the text of `content`: text, null, or a list of parts.

    Raises:
        InvalidResponseError: it is anything else.
    """
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid_answer(reply, "without text (content is neither text nor a list of parts)")
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def usual_content(content: Any) -> Any:
    """Return `content` with each part that is a text in another form as a part with the type and the field `text`."""
    return [_usual_part(part) for part in content] if isinstance(content, list) else content


def _usual_part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict) or part.get("type", "text") not in _TEXT_PARTS:
        return part
    text = part.get("text")
    text = text.get("value") if isinstance(text, dict) else text
    return {**part, "type": "text", "text": text} if isinstance(text, str) else part


def reasoning_of(message: Mapping[str, Any], *, details: bool = True) -> str:
    """Return the reasoning in a message or delta, under the first name that has any; empty if there is none.

    Args:
        message: The message or delta.
        details: Whether to look at `reasoning_details`, which OpenRouter sends next to the same text.
    """
    for name in REASONING_FIELDS:
        text = message.get(name)
        if text and isinstance(text, str):
            return text
    content = message.get("content")
    found = _thoughts(content) if isinstance(content, list) else ""
    if not found and details and isinstance(message.get("reasoning_details"), list):
        parts = map(mapping, message["reasoning_details"])
        found = "".join(string(part.get("text")) or string(part.get("summary")) or "" for part in parts)
    return found


def _thoughts(content: list[Any]) -> str:
    """Return the text of the thinking parts in `content`: of a part itself, or of its own parts."""
    found = []
    for part in map(mapping, content):
        if part.get("type") in _READ_PARTS[1:]:
            for name in ("thinking", "reasoning", "text", "summary"):
                inner = part.get(name)
                if isinstance(inner, list):
                    inner = "".join(string(mapping(item).get("text")) or "" for item in inner)
                if isinstance(inner, str) and inner:
                    found.append(inner)
                    break
    return "".join(found)


def has_unread_output(message: Mapping[str, Any]) -> bool:
    """Return whether a message or delta holds a part of the answer that is only in `raw`."""
    content = message.get("content")
    if isinstance(content, list) and any(mapping(part).get("type") not in _READ_PARTS for part in content):
        return True
    return not message.keys() <= _READ and any(
        value and name not in _READ and name not in _ABOUT and isinstance(value, (str, list, dict))
        for name, value in message.items()
    )


def has_content(message: Mapping[str, Any]) -> bool:
    """Return whether a message or delta has content of any kind: text, even if empty, a picture, a sound."""
    if message.get("content") is not None:
        return True
    return any(
        value and name not in _READ and name not in _ABOUT and isinstance(value, (list, dict))
        for name, value in message.items()
        if not name.startswith(_ANNOTATING)
    )


def says_more(message: Mapping[str, Any]) -> bool:
    """Return whether a message or delta has content other than an empty text."""
    return bool(message.get("content")) or has_content({**message, "content": None})


def usage_in(answer: Mapping[str, Any], choice: Mapping[str, Any]) -> Any:
    """Return the usage that an answer or event reports, in any place."""
    # Moonshot puts it in the choice, Groq's streams in a field of its own.
    return answer.get("usage") or choice.get("usage") or mapping(answer.get("x_groq")).get("usage")


def usage_of(usage: Any) -> LLMUsage | None:
    """Return the reported token counts. An impossible number counts as unreported; None means that nothing was
    reported."""
    if not isinstance(usage, dict):
        return None
    prompt = mapping(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    completion = mapping(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    # Next to the counts: Moonshot and others, DeepSeek, gateways to Anthropic.
    prompt = {**usage, **prompt} if prompt else usage
    completion = {**usage, **completion} if completion else usage
    found = make_usage(
        prompt_tokens=_first(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=_first(usage, "completion_tokens", "output_tokens"),
        total_tokens=count(usage.get("total_tokens")),
        cached_tokens=_first(prompt, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"),
        cache_write_tokens=_first(prompt, "cache_write_tokens", "cache_creation_input_tokens"),
        reasoning_tokens=_first(completion, "reasoning_tokens"),
    )  # fmt: skip
    return found or None


def _first(numbers: Mapping[str, Any], *names: str) -> int | None:
    """Return the first plausible token count under one of `names`."""
    for name in names:
        if name in numbers:
            number = count(numbers[name])
            if number is not None:
                return number
    return None


def cost_of(usage: Any) -> float | None:
    """Return the price in US dollars in a usage, given as a number or as the total of several."""
    cost = mapping(usage).get("cost")
    return amount(mapping(cost).get("total_cost") if isinstance(cost, dict) else cost)


def joined(chunks: Sequence[StreamChunk]) -> StreamChunk:
    """Merge the chunks of one event."""
    reasons = [chunk.finish_reason for chunk in chunks if chunk.finish_reason]
    return replace(
        chunks[0],
        text="".join(chunk.text for chunk in chunks),
        reasoning="".join(chunk.reasoning for chunk in chunks),
        tool_calls=tuple(call for chunk in chunks for call in chunk.tool_calls),
        finish_reason=reasons[-1] if reasons else None,
        usage=next((chunk.usage for chunk in chunks if chunk.usage is not None), None),
        output_in_raw=any(chunk.output_in_raw for chunk in chunks),
        details=next((chunk.details for chunk in reversed(chunks) if chunk.details is not None), None),
    )
