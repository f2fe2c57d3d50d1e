"""Renders a request as codex takes it: one prompt and one file of instructions. Pure.

**Instructions.** The texts of all `system` and `developer` messages in order, with a blank line between them. They
replace codex's own instructions. Without any, a completion gets `DEFAULT_INSTRUCTIONS` and an agent keeps codex's.

**Prompt.** A single user message is passed on unchanged. A longer conversation is rendered like this::

    The conversation so far. Write the assistant's next message, and only its text.

    <message role="user">
    What is the weather in Oslo?
    </message>
    <message role="assistant">
    <tool_call id="call_1" name="weather">{"city": "Oslo"}</tool_call>
    </message>
    <message role="tool" tool_call_id="call_1">
    4 degrees, rain
    </message>

Inside a message, these tags are written with a backslash (``<\\/message``), so that no text can pose as another
message.
"""

from __future__ import annotations

import re
from html import escape

from lee_llm_router.errors import ContextLengthError, InvalidRequestError
from lee_llm_router.providers.json_schema import json_instructions
from lee_llm_router.response import (
    LLMRequest,
    Message,
    ToolCall,
    is_instruction,
    message_parts,
    message_text,
    message_tool_calls,
    message_tool_result,
    system_text,
)

MAX_PROMPT = 1_048_576
"""The longest prompt codex accepts, in characters (measured: one more gives `input_too_large`)."""

DEFAULT_INSTRUCTIONS = "Answer the user's message."
"""Instructions for a request that has none: codex refuses an empty file."""

_HEADING = "The conversation so far. Write the assistant's next message, and only its text."
_TAGS = re.compile(r"<(/?)(?=(?:message|tool_call)\b)", re.IGNORECASE)


def render_prompt(request: LLMRequest) -> str:
    """Return the prompt for codex's standard input.

    Raises:
        InvalidRequestError: the prompt is empty, offers tools, or holds a part or a character that is not text.
        ContextLengthError: the prompt is longer than `MAX_PROMPT`.
    """
    if request.tools:
        raise InvalidRequestError("codex_cli cannot offer tools to the model", sent=False)
    turns = [message for message in request.messages if not is_instruction(message)]
    if len(turns) == 1 and turns[0].get("role") == "user":
        prompt = _text(turns[0])
    else:
        prompt = "\n".join([_HEADING, "", *map(_rendered, turns)])
    if not turns or not prompt.strip():
        raise InvalidRequestError("the prompt is empty", sent=False)
    if len(prompt) > MAX_PROMPT:
        raise ContextLengthError(f"the prompt has {len(prompt)} characters, codex takes {MAX_PROMPT}", sent=False)
    return _encodable(prompt)


def render_instructions(request: LLMRequest, *, agent: bool, schema_in_words: bool) -> str | None:
    """Return the text for codex's file of instructions; None: codex keeps its own.

    Args:
        agent: Whether codex has its tools, and keeps its own instructions where the request has none.
        schema_in_words: Whether to state the JSON Schema here, in addition to `--output-schema` or instead of it.
    """
    for message in filter(is_instruction, request.messages):
        _refuse_other_parts(message)
    instructions = system_text(request.messages) or ("" if agent else DEFAULT_INSTRUCTIONS)
    texts = [instructions] if instructions else []
    if request.wants_json and (schema_in_words or request.schema is None):
        texts.append(json_instructions(request))
    return _encodable("\n\n".join(texts)) if texts else None


def _rendered(message: Message) -> str:
    result = message_tool_result(message)
    attributes = {"role": message.get("role"), "name": message.get("name"), "tool_call_id": result and result.call_id}
    head = "".join(f' {name}="{escape(str(value))}"' for name, value in attributes.items() if value)
    lines = [f"<message{head}>"]
    text = _TAGS.sub(r"<\\\1", _text(message))
    if text:
        lines.append(text)
    lines += map(_rendered_call, message_tool_calls(message))
    return "\n".join([*lines, "</message>"])


def _rendered_call(call: ToolCall) -> str:
    attributes = {"id": call.id, "name": call.name}
    head = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if value)
    return f"<tool_call{head}>" + _TAGS.sub(r"<\\\1", call.arguments) + "</tool_call>"


def _text(message: Message) -> str:
    _refuse_other_parts(message)
    return message_text(message)


def _refuse_other_parts(message: Message) -> None:
    for part in message_parts(message):
        if part["type"] != "text":
            raise InvalidRequestError(f"codex_cli takes text alone, not a part of type {part['type']!r}", sent=False)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"a message holds a lone surrogate at character {error.start}, which is not text", sent=False
        ) from None
    return text
