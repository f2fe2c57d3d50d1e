"""Reads the parts that a whole chat completion and its streamed chunks have in common. Pure."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from lee_llm_router._util.numbers import count
from lee_llm_router.errors import ContentFilterError, FailureType, LLMRouterError, error_for
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import invalid_answer, mapping
from lee_llm_router.response import LLMResponse, LLMUsage

_BROKEN_OFF: dict[str, FailureType] = {
    "content_filter": FailureType.CONTENT_FILTER,
    "sensitive": FailureType.CONTENT_FILTER,  # Zhipu
    "error": FailureType.PROVIDER_ERROR,  # OpenRouter
    "network_error": FailureType.PROVIDER_ERROR,  # Zhipu
    "abort": FailureType.PROVIDER_ERROR,  # vLLM, SGLang
    "insufficient_system_resource": FailureType.OVERLOADED,  # DeepSeek
    "incomplete": FailureType.INVALID_RESPONSE,
}
"""Finish reasons that mean the answer is not whole."""

_UNREPORTED = LLMUsage()


def broken_off(reply: HTTPReply, reason: str, response: LLMResponse | None = None) -> LLMRouterError | None:
    """Return the error that a finish reason stands for; None for an ordinary one."""
    kind = _BROKEN_OFF.get(reason)
    if kind is None:
        return None
    message = f"the answer was broken off ({reason})"
    final = kind is FailureType.INVALID_RESPONSE
    return error_for(kind, message, status_code=reply.status, response=response, final=final)


def refused(reply: HTTPReply, refusal: str, response: LLMResponse | None = None) -> ContentFilterError:
    """Return the error for an answer that is a refusal."""
    message = f"the model refused: {reply.quote(refusal)}"
    return ContentFilterError(message, status_code=reply.status, response=response)


def text_of(reply: HTTPReply, content: Any) -> str | None:
    """Return the text of `content`, which is text, null, or a list of parts.

    Raises:
        InvalidResponseError: it is none of these.
    """
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid_answer(reply, "without text (content is neither text nor a list of parts)")
    # Parts of other types (Mistral's thinking, images) stay in `raw` only.
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def arguments_text(arguments: Any) -> str:
    """Return the arguments of a tool call, or a part of them, as JSON text."""
    if arguments is None:
        return ""
    # Some servers send the arguments as an object.
    return arguments if isinstance(arguments, str) else to_json(arguments).decode()


def usage_of(usage: Any) -> LLMUsage | None:
    """Return the token counts reported; an impossible number counts as unreported, and None means nothing was."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    found = LLMUsage(
        prompt_tokens=count(usage.get("prompt_tokens")),
        completion_tokens=count(usage.get("completion_tokens")),
        total_tokens=count(usage.get("total_tokens")),
        cached_tokens=count(mapping(prompt).get("cached_tokens")) if prompt else None,
        reasoning_tokens=count(mapping(completion).get("reasoning_tokens")) if completion else None,
    )
    return None if found.total_tokens is None and found == _UNREPORTED else found
