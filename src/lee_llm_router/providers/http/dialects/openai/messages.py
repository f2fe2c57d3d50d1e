"""Puts a caller's messages into a form that every server of chat completions accepts. Pure.

How this works. Messages already have the API's shape, so most are sent unchanged: a list of plain texts is only
checked. Others may come from anywhere (other vendors' answers, a truncated history, a store), and are repaired one by
one; a message that needs no repair stays the same object.

- Fields of this package (`provider_data`, `cache`, `is_error`) are never sent. Fields that the same server and model
  made for itself are put back in place (`native_turns`). A cache mark takes the server's own form, if the settings name
  one.
- Every tool call is followed by its result, and every result follows its call. Results are matched by id, or else by
  the tool's name, or else by order, up to the next message that calls tools. A call without a result gets one that says
  so; a result without a call becomes text of the user.
- Ids that are missing, duplicate or invalid are replaced, in calls and results alike.
- A result holds only text. Its pictures follow in a message of the user, after the results.
- Empty texts, empty lists and empty messages are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lee_llm_router.providers.http.dialects.conversation import NO_RESULT
from lee_llm_router.providers.http.dialects.openai.message_parts import (
    CacheMarks,
    as_text,
    legal_call,
    legal_name,
    legal_parts,
    marked_as_error,
)
from lee_llm_router.providers.http.dialects.openai.native_turns import DIALECT, with_own_fields
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.response.details import NATIVE_FIELD, native_content, native_origin
from lee_llm_router.response.types import LLMRequest, Message

_OURS = frozenset({NATIVE_FIELD, "cache", "is_error"})
"""Message fields of this package."""
_SAY_NOTHING = frozenset({"role", "content", "name", "reasoning_content"})
_UNMARKED = CacheMarks("none")
_ROLES = frozenset({"user", "assistant", "system"})
_NO_MESSAGE: Message = {}
_NOTHING_SAID: tuple[Message, ...] = ({"role": "user", "content": ""},)
_OPENAI_ROLES = _ROLES | {"developer"}


def legal_messages(messages: Sequence[Message], request: LLMRequest, settings: OpenAIChatConfig) -> Sequence[Message]:
    """Return `messages`, those of `request`, in the form that the server accepts; the same list if nothing changes."""
    roles = _OPENAI_ROLES if settings.facts.is_openai else _ROLES
    for message in messages:
        content = message.get("content")
        if len(message) != 2 or type(content) is not str or message.get("role") not in roles or not content:
            return _History(request, settings).mended(messages)
    return messages


class _History:
    """The messages of one request during repair."""

    def __init__(self, request: LLMRequest, settings: OpenAIChatConfig) -> None:
        facts = settings.facts
        self._settings = settings
        self._roles = _OPENAI_ROLES if facts.is_openai else _ROLES
        self._legal_id = facts.ids.legal
        bodies = (request.extra_body, settings.extra_body, {"model": request.model or settings.model})
        model = next(body["model"] for body in bodies if "model" in body)
        self._origin = native_origin(facts.host, model)
        tools = (tool.get("function") for tool in request.tools or ())
        self._tools = {tool.get("name") for tool in tools if isinstance(tool, Mapping)}
        self._marks = CacheMarks(settings.cache_marks)
        self._used: set[str] = set()
        self._done: list[Message] = []

    def mended(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return `messages` in the form that the server accepts."""
        position = 0
        while position < len(messages):
            message = messages[position]
            role = message.get("role")
            position += 1
            if role == "assistant" and message.get("tool_calls"):
                end = self._add_clean_calls(messages, position - 1)
                position = end if end >= position else self._add_calls(messages, position - 1)
            elif role == "assistant":
                self._add_answer(message)
            elif role == "tool":
                self._add_orphan(message)
            else:
                self._add_text(message)
        self._marks.keep_last()
        if self._settings.after_results is not None:
            self._done = list(_parted(self._done, self._settings.after_results))
        return tuple(self._done) or _NOTHING_SAID

    def _add_text(self, message: Message) -> None:
        """Add a message of the user, or an instruction."""
        content = message.get("content")
        if len(message) == 2 and type(content) is str and content and message.get("role") in self._roles:
            self._done.append(message)
            return
        changed = self._own_fields_removed(message)
        if message.get("role") == "developer" and "developer" not in self._roles:
            changed["role"] = "system"
        if not isinstance(content, str):
            content = legal_parts(content, self._marks)
        if not content:
            return
        changed["content"] = self._marks.marked(content) if message.get("cache") else content
        self._done.append(changed)

    def _add_answer(self, message: Message, calls: list[dict[str, Any]] | None = None) -> None:
        """Add a message of the assistant; `calls` are its repaired tool calls."""
        content = message.get("content")
        if len(message) == 2 and type(content) is str and content and self._settings.missing_reasoning is None:
            self._done.append(message)
            return
        changed = self._own_fields_removed(message)
        changed.pop("tool_calls", None)
        if content is not None and not isinstance(content, str):
            content = legal_parts(content, self._marks, keep_refusals=self._settings.facts.is_openai) or None
        if content and message.get("cache"):
            content = self._marks.marked(content)
        if self._settings.missing_reasoning is not None and (calls or self._follows_result()):
            changed = {"reasoning_content": self._settings.missing_reasoning, **changed}
        if "content" in changed or content:
            changed["content"] = content
        if calls:
            changed["tool_calls"] = calls
        if NATIVE_FIELD in message:
            changed = with_own_fields(changed, message, self._origin)
        if content or calls or any(value for name, value in changed.items() if name not in _SAY_NOTHING):
            self._done.append(changed)

    def _add_clean_calls(self, messages: Sequence[Message], start: int) -> int:
        """If the message at `start` and the results of its calls need no repair, add them; return the next position.

        True of nearly all histories, and a tenth of the work.
        """
        message, end = messages[start], start + 1
        if len(message) != 3 or self._settings.missing_reasoning is not None or "content" not in message:
            return start
        content, calls, used = message["content"], message["tool_calls"], set()
        if type(calls) is not list or (content is not None and type(content) is not str):
            return start
        for call in calls:
            result = messages[end] if end < len(messages) else _NO_MESSAGE
            end += 1
            call_id = result.get("tool_call_id")
            if len(result) != 3 or result.get("role") != "tool" or type(result.get("content")) is not str:
                return start
            if (
                type(call_id) is not str
                or call_id in used
                or call_id in self._used
                or self._legal_id(call_id) != call_id
            ):
                return start
            if legal_call(call, call_id, self._tools) is not call:
                return start
            used.add(call_id)
        self._used |= used
        self._done += messages[start:end]
        return end

    def _add_calls(self, messages: Sequence[Message], start: int) -> int:
        """Add the message at `start`, which calls tools, and all up to the next one that does; return that one's
        position."""
        message, end = _joined_calls(messages, start)
        following = []
        while end < len(messages) and not (
            messages[end].get("role") == "assistant" and messages[end].get("tool_calls")
        ):
            following.append(messages[end])
            end += 1
        calls = _calls_in(message)
        is_its_own = NATIVE_FIELD in message and native_content(message, DIALECT, self._origin) is not None
        mended = [legal_call(call, self._new_id(call.get("id"), is_its_own), self._tools) for call in calls]
        is_same = len(message) == 3 and self._settings.missing_reasoning is None
        is_same = is_same and calls == message["tool_calls"] and all(map(_is, mended, calls)) and bool(calls)
        if is_same and type(message.get("content", 0)) in (str, type(None)):
            self._done.append(message)
        else:
            self._add_answer(message, mended)
        others = self._add_results(list(zip(calls, mended, strict=True)), following)
        for other in others:
            role = other.get("role")
            add = self._add_orphan if role == "tool" else self._add_answer if role == "assistant" else self._add_text
            add(other)
        return end

    def _add_results(
        self, open_calls: list[tuple[Mapping[str, Any], dict[str, Any]]], following: Iterable[Message]
    ) -> list[Message]:
        """Add the results of `open_calls` found in `following`; return the other messages."""
        others: list[Message] = []
        shown: list[Any] = []
        for message in following:
            call = _answered(open_calls, message) if message.get("role") == "tool" else None
            if call is None:
                others.append(message)
            else:
                self._add_result(message, call, shown)
        for _, call in open_calls:
            text = marked_as_error(NO_RESULT)
            self._done.append({"role": "tool", "tool_call_id": call["id"], "content": text})
        if shown:
            self._done.append({"role": "user", "content": shown})
        return others

    def _add_result(self, message: Message, call: Mapping[str, Any], shown: list[Any]) -> None:
        """Add the result of `call`; the parts that are not text go into `shown`."""
        content, call_id = message.get("content"), call["id"]
        if len(message) == 3 and type(content) is str and message.get("tool_call_id") == call_id:
            self._done.append(message)
            return
        changed = self._own_fields_removed(message)
        changed["tool_call_id"] = call_id
        is_marked = message.get("cache")
        if not isinstance(content, str):
            parts = legal_parts(content, self._marks if self._settings.media_in_results else _UNMARKED)
            if self._settings.media_in_results:
                content = parts or ""
            else:
                is_marked = is_marked or any(isinstance(part, Mapping) and part.get("cache") for part in content or ())
                content, media = as_text(parts)
                if media:
                    name = call.get("function", call).get("name") or "a tool"
                    shown += [{"type": "text", "text": f"Content of the result of {name} ({call_id}):"}, *media]
                    content = content or "Its content follows in the next message of the user."
        if message.get("is_error"):
            content = marked_as_error(content)
        changed["content"] = self._marks.marked(content) if is_marked and content else content
        self._done.append(changed)

    def _add_orphan(self, message: Message) -> None:
        """Add a result whose call is not among the messages, as text of the user."""
        name = message.get("name")
        head = f"Result of a tool ({name}):" if isinstance(name, str) and name else "Result of a tool:"
        content = message.get("content")
        if isinstance(content, str):
            if content.strip():
                self._done.append({"role": "user", "content": f"{head}\n{content}"})
            return
        texts, media = as_text(legal_parts(content, _UNMARKED))
        if media:
            self._done.append({"role": "user", "content": [{"type": "text", "text": f"{head}\n{texts}"}, *media]})
        elif texts:
            self._done.append({"role": "user", "content": f"{head}\n{texts}"})

    def _follows_result(self) -> bool:
        return bool(self._done) and self._done[-1].get("role") == "tool"

    def _new_id(self, written: Any, is_its_own: bool) -> str:
        """Return an unused id that the server accepts, such as one that it made itself."""
        known: str = written if isinstance(written, str) else ""
        number = len(self._used)
        new = known if is_its_own and known else self._legal_id(known or f"call_{number}")
        while new in self._used:
            number += 1
            new = self._legal_id(f"{known or 'call'}_{number}")
        self._used.add(new)
        return new

    def _own_fields_removed(self, message: Message) -> dict[str, Any]:
        """Return a copy of `message` without this package's own fields, and with a legal name."""
        changed = {name: value for name, value in message.items() if name not in _OURS}
        if changed.get("role") not in ("tool", "function") and "name" in changed:
            changed["name"] = legal_name(changed["name"]) if self._settings.message_names else ""
            if not changed["name"]:
                del changed["name"]
        return changed


def _is(one: Any, other: Any) -> bool:
    return one is other


def _parted(messages: Iterable[Message], words: str) -> Iterator[Message]:
    """Yield `messages` with a text of the assistant between tool results and the user."""
    last = None
    for message in messages:
        if last == "tool" and message.get("role") == "user":
            yield {"role": "assistant", "content": words}
        yield message
        last = message.get("role")


def _calls_in(message: Message) -> list[Mapping[str, Any]]:
    calls = message.get("tool_calls")
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        return []
    return [call for call in calls if isinstance(call, Mapping)]


def _joined_calls(messages: Sequence[Message], start: int) -> tuple[Message, int]:
    """Return the message at `start`, merged with following ones that also call tools, and the position after it.

    Some programs put calls made at the same time into separate messages.
    """
    message, end = messages[start], start + 1
    while end < len(messages) and messages[end].get("role") == "assistant" and messages[end].get("tool_calls"):
        other = messages[end]
        texts = [text for text in (message.get("content"), other.get("content")) if text]
        content = "\n".join(texts) if all(isinstance(text, str) for text in texts) else texts[-1]
        message = {"role": "assistant", "content": content or None,
                   "tool_calls": [*_calls_in(message), *_calls_in(other)]}  # fmt: skip
        end += 1
    return message, end


def _answered(open_calls: list[tuple[Mapping[str, Any], dict[str, Any]]], message: Message) -> dict[str, Any] | None:
    """Return the call that a result belongs to, and remove it from `open_calls`; None if there is none."""
    written, name = message.get("tool_call_id"), message.get("name")
    for index, (asked, mended) in enumerate(open_calls):
        called = mended.get("function", {}).get("name")
        if asked.get("id") == written if written else called == name or not name:
            del open_calls[index]
            return mended
    return None
