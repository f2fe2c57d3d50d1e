"""Writes a call's messages as Anthropic's system text and turns. Pure.

How this works. `conversation_of` returns alternating turns, results first, with legal ids. This module turns each item
into a block, and avoids what the API would refuse:

- the first turn is the user's: one is inserted before the assistant's;
- an assistant turn from this host and model (`native_content`) goes back block by block, unchanged, with its thinking
  and signatures; one from elsewhere goes as text and tool calls;
- the last turn is the user's. If it is the assistant's, older models continue it; newer ones get a user turn that asks
  them to;
- a paused turn with the vendor's own tools goes back unchanged, and the vendor continues it;
- blocks worth caching are noted in order (`Written.marked`); the request has room for the last few marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lee_llm_router.providers.http.dialects.anthropic.blocks import (
    Block,
    answer_block,
    block_kind,
    content_block,
    input_of,
    is_thinking,
    of_an_answer,
)
from lee_llm_router.providers.http.dialects.conversation import (
    CallItem,
    ContentItem,
    Conversation,
    Item,
    LegalIds,
    ResultItem,
    TextItem,
    Turn,
    conversation_of,
)
from lee_llm_router.response.details import native_content
from lee_llm_router.response.types import Message

DIALECT = "anthropic"
BEGIN = "Begin."
"""The user's text before messages that begin with the assistant's."""
GO_ON = "Go on from exactly where your last message ends. Do not repeat any of it."
"""The user's text that asks a model to continue an answer, if the model does not do so by itself."""
FAILED = "The tool failed."
"""The text of an error result that is empty."""
_IDS = LegalIds()
_USUAL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_OWN_TOOL = re.compile(r"(?:server_tool_use|_tool_result|mcp_tool_use)$")


def plain_messages(messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]]] | None:
    """Return system text and messages if they need no reordering; None if they might.

    This covers nearly all calls: alternating texts, with the user first and last.
    """
    system, found, expected = "", [], "user"
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if type(content) is not str or len(message) != 2 or not content or content.isspace():
            return None
        if role == expected:
            found.append({"role": role, "content": content})
            expected = "assistant" if role == "user" else "user"
        elif role in ("system", "developer"):
            system = f"{system}\n\n{content}" if system else content
        else:
            return None
    return (system, found) if expected == "assistant" else None


def usual_loop(messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]]] | None:
    """As `plain_messages`, for the usual loop of tool calls: each call answered at once, in order.

    Ids have to be legal and unique, and nothing may need to go back in a native form.
    """
    system, used = "", set[str]()
    found: list[dict[str, Any]] = []
    waiting: list[str] = []
    expected = "user"
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if waiting:
            if message.get("tool_call_id") != waiting.pop(0) or len(message) != 3 or type(content) is not str:
                return None
            if role != "tool" or not content or content.isspace():
                return None
            found[-1]["content"].append({"type": "tool_result", "tool_use_id": message["tool_call_id"],
                                         "content": content})  # fmt: skip
        elif role == "assistant" and expected == role and len(message) == 3 and "tool_calls" in message:
            blocks = _usual_calls(message, content, used)
            if blocks is None:
                return None
            waiting = [block["id"] for block in blocks if block_kind(block) == "tool_use"]
            found += ({"role": role, "content": blocks}, {"role": "user", "content": []})
        elif type(content) is not str or len(message) != 2 or not content or content.isspace():
            return None
        elif role == expected:
            found.append({"role": role, "content": content})
            expected = "assistant" if role == "user" else "user"
        elif role in ("system", "developer"):
            system = f"{system}\n\n{content}" if system else content
        else:
            return None
    return (system, found) if expected == "assistant" and not waiting else None


def _usual_calls(message: Message, text: Any, used: set[str]) -> list[Block] | None:
    """Return the blocks of a message with tool calls; None if anything about them is unusual. Adds to `used`."""
    blocks: list[Block] = []
    if type(text) is str and text:
        if text.isspace():
            return None
        blocks.append({"type": "text", "text": text})
    elif text:
        return None
    calls = message["tool_calls"]
    if type(calls) is not list or not calls:
        return None
    for call in calls:
        function = call.get("function") if type(call) is dict else None
        call_id = call.get("id") if function else None
        if type(function) is not dict or type(call_id) is not str or call_id in used or not _USUAL_ID(call_id):
            return None
        name, arguments = function.get("name"), function.get("arguments")
        if type(name) is not str or type(arguments) is not str or not _USUAL_ID(name):
            return None
        used.add(call_id)
        blocks.append({"type": "tool_use", "id": call_id, "name": name, "input": input_of(arguments)})
    return blocks


class Written:
    """Messages in the API's form, with what matters for the rest of the request.

    Args:
        messages: Those of the call.
        origin: The destination, in the form of `native_origin`.
        may_begin_answer: Whether the model continues messages that end with the assistant's.
        cite: Whether the model should say which parts of documents it used.
        marked: Blocks before the messages that are worth caching.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        *,
        origin: str,
        may_begin_answer: bool,
        cite: bool,
        marked: Sequence[Block] = (),
    ) -> None:
        self._origin = origin
        conversation = conversation_of(messages, _IDS, keeps=lambda one: bool(self._native(one)))
        self._cite = cite
        self.marked: list[Block] = list(marked)
        """Blocks that are worth caching, with everything before them, in order."""
        self.calls = False
        """Whether it calls tools."""
        self.begins_answer = False
        """Whether the model has to continue an existing text."""
        self.loop_lacks_thinking = False
        """Whether the last turn called tools without thinking that can be sent back."""
        self.system: str | list[Block] = self._system(conversation)
        self.messages = [message for turn in conversation.turns for message in self._turn(turn)]
        self._begin()
        self._end(may_begin_answer=may_begin_answer)

    def tool_names(self) -> Iterator[str]:
        """Yield the names of the tools called."""
        for message in self.messages:
            for block in message["content"]:
                if block_kind(block) == "tool_use":
                    yield block["name"]

    def _system(self, conversation: Conversation) -> str | list[Block]:
        items = conversation.system
        if not any(item.cache for item in items):
            return "\n\n".join(item.text for item in items)
        return [self._marking({"type": "text", "text": item.text}, item.cache) for item in items]

    def _turn(self, turn: Turn) -> Iterator[dict[str, Any]]:
        if turn.role == "user":
            blocks = [self._block(item) for item in turn.items if not isinstance(item, CallItem)]
        else:
            blocks = [block for message, items in turn.sources for block in self._answer(message, items)]
            called = any(block_kind(block) == "tool_use" for block in blocks)
            self.calls = self.calls or called
            self.loop_lacks_thinking = called and not is_thinking(blocks[0])
        if blocks:
            yield {"role": turn.role, "content": blocks}

    def _answer(self, message: Message, items: Sequence[Item]) -> Iterable[Block]:
        """Return the blocks of one assistant message: its own if it came from this host and model."""
        blocks = self._native(message)
        calls = [item for item in items if isinstance(item, CallItem)]
        called = [block for block in blocks if block_kind(block) == "tool_use"]
        if blocks and len(called) == len(calls):
            for tool_use, item in zip(called, calls, strict=True):
                tool_use["id"] = item.call.id
            if message.get("cache") or any(item.cache for item in items):
                self.marked += [block for block in blocks if not is_thinking(block)][-1:]
            return blocks
        written = [block for block in map(answer_block, items) if block is not None]
        self.marked += written[-1:] if any(item.cache for item in items) else ()
        return written

    def _native(self, message: Message) -> list[Block]:
        """Return copies of the original blocks of an assistant message; none if it came from elsewhere."""
        native = native_content(message, DIALECT, self._origin)
        if not isinstance(native, Sequence) or not native or not all(map(of_an_answer, native)):
            return []
        return [] if is_thinking(native[-1]) else [dict(block) for block in native]

    def _block(self, item: ContentItem | ResultItem) -> Block:
        if isinstance(item, ResultItem):
            block: Block = {"type": "tool_result", "tool_use_id": item.call_id}
            content = self._result(item.content)
            if content or item.is_error:
                block["content"] = content or FAILED
            if item.is_error:
                block["is_error"] = True
            return self._marking(block, item.cache or any(one.cache for one in item.content))
        return self._marking(content_block(item, cite=self._cite), item.cache)

    def _result(self, items: Sequence[ContentItem]) -> str | list[Block]:
        if len(items) == 1 and isinstance(items[0], TextItem):
            return items[0].text
        return [content_block(item, cite=self._cite) for item in items]

    def _marking(self, block: Block, cache: bool) -> Block:
        if cache:
            self.marked.append(block)
        return block

    def _begin(self) -> None:
        """Let the user speak first."""
        if not self.messages and self.system:
            system = self.system if isinstance(self.system, list) else [{"type": "text", "text": self.system}]
            self.messages.append({"role": "user", "content": system})
            self.system = ""
        if not self.messages or self.messages[0]["role"] != "user":
            self.messages.insert(0, {"role": "user", "content": [{"type": "text", "text": BEGIN}]})

    def _end(self, *, may_begin_answer: bool) -> None:
        """Let the user speak last, unless the model continues where the assistant ends."""
        last = self.messages[-1]
        if last["role"] != "assistant":
            return
        blocks: list[Block] = last["content"]
        if any(_OWN_TOOL.search(block_kind(block)) for block in blocks):
            return  # the vendor's tools were at work: it continues by itself
        if may_begin_answer and block_kind(blocks[-1]) == "text" and not any(map(is_thinking, blocks)):
            blocks[-1] = {**blocks[-1], "text": blocks[-1]["text"].rstrip()}
            self.begins_answer = True
            return
        self.messages.append({"role": "user", "content": [{"type": "text", "text": GO_ON}]})
