"""Renders a conversation as the one text that a CLI agent takes. Pure.

A single user message is passed on unchanged. A longer conversation is rendered like this::

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

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.json_schema import json_instructions
from lee_llm_router.response.types import (
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

_HEADING = "The conversation so far. Write the assistant's next message, and only its text."
_TAGS = re.compile(r"<(/?)(?=(?:message|tool_call)\b)", re.IGNORECASE)


def render_conversation(request: LLMRequest, agent: str) -> str:
    """Return all messages but the instructions as one text.

    Args:
        request: The request.
        agent: The provider's type, for errors.

    Raises:
        InvalidRequestError: the text is empty, the request offers tools, or it holds a part or a character that is not
            text.
    """
    if request.tools:
        raise InvalidRequestError(f"{agent} cannot offer tools to the model", sent=False)
    turns = [message for message in request.messages if not is_instruction(message)]
    if len(turns) == 1 and turns[0].get("role") == "user":
        prompt = _text(turns[0], agent)
    else:
        prompt = "\n".join([_HEADING, "", *(_rendered(turn, agent) for turn in turns)])
    if not turns or not prompt.strip():
        raise InvalidRequestError("the prompt is empty", sent=False)
    return _encodable(prompt)


def render_instructions(
    request: LLMRequest, agent: str, *, default: str = "", schema_in_words: bool = True
) -> str | None:
    """Return the texts of all `system` and `developer` messages in order; None if there are none.

    Args:
        request: The request.
        agent: The provider's type, for errors.
        default: Used if the request has none.
        schema_in_words: Whether to state a JSON Schema; `json_mode` without one is always stated.
    """
    for message in filter(is_instruction, request.messages):
        _refuse_other_parts(message, agent)
    instructions = system_text(request.messages) or default
    texts = [instructions] if instructions else []
    if request.wants_json and (schema_in_words or request.schema is None):
        texts.append(json_instructions(request))
    return _encodable("\n\n".join(texts)) if texts else None


def _rendered(message: Message, agent: str) -> str:
    result = message_tool_result(message)
    attributes = {"role": message.get("role"), "name": message.get("name"), "tool_call_id": result and result.call_id}
    head = "".join(f' {name}="{escape(str(value))}"' for name, value in attributes.items() if value)
    lines = [f"<message{head}>"]
    text = _TAGS.sub(r"<\\\1", _text(message, agent))
    if text:
        lines.append(text)
    lines += map(_rendered_call, message_tool_calls(message))
    return "\n".join([*lines, "</message>"])


def _rendered_call(call: ToolCall) -> str:
    attributes = {"id": call.id, "name": call.name}
    head = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if value)
    return f"<tool_call{head}>" + _TAGS.sub(r"<\\\1", call.arguments) + "</tool_call>"


def _text(message: Message, agent: str) -> str:
    _refuse_other_parts(message, agent)
    return message_text(message)


def _refuse_other_parts(message: Message, agent: str) -> None:
    for part in message_parts(message):
        if part["type"] != "text":
            raise InvalidRequestError(f"{agent} takes only text, not a part of type {part['type']!r}", sent=False)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"a message holds a lone surrogate at character {error.start}, which is not text", sent=False
        ) from None
    return text
