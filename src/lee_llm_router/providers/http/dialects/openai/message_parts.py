"""Repairs the components of messages: parts, tool calls, names, cache marks. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lee_llm_router.providers.http.dialects.openai.tool_calls import arguments_object, arguments_text

_NOT_IN_NAME = re.compile(r"[\s<|\\/>]+")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_IN_TOOL_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_MEDIA = frozenset({"image_url", "input_audio", "file"})
_MARKS: dict[str, dict[str, Any]] = {
    "none": {},
    "cache_control": {"cache_control": {"type": "ephemeral"}},
    "prompt_cache_breakpoint": {"prompt_cache_breakpoint": {"mode": "explicit"}},
}
_MAX_MARKS = 4


class CacheMarks:
    """Marks parts for the server's cache, in the server's own form.

    Args:
        kind: The setting `cache_marks`.
    """

    def __init__(self, kind: str) -> None:
        self._mark = _MARKS[kind]
        self._marked: list[dict[str, Any]] = []

    def part(self, part: dict[str, Any]) -> dict[str, Any]:
        """Return `part`, a copy of the caller's, with the mark."""
        if self._mark and not part.keys() >= self._mark.keys():
            part.update(self._mark)
            self._marked.append(part)
        return part

    def marked(self, content: str | list[Any]) -> str | list[Any]:
        """Return the content of a message with the mark on its last part."""
        if not self._mark:
            return content
        if isinstance(content, str):
            return [self.part({"type": "text", "text": content})] if content else content
        return [*content[:-1], self.part(dict(content[-1]))]

    def keep_last(self) -> None:
        """Remove all marks but the last ones: vendors accept four at most."""
        for part in self._marked[:-_MAX_MARKS]:
            for name in self._mark:
                part.pop(name, None)


def legal_parts(content: Any, marks: CacheMarks, *, keep_refusals: bool = False) -> list[Any]:
    """Return the non-empty parts of `content`, each in the API's shape."""
    if not isinstance(content, Sequence) or isinstance(content, (str, bytes)):
        return []
    found = []
    for part in content:
        if isinstance(part, Mapping):
            mended = _legal_part(part, keep_refusals)
            if mended is not None:
                if part.get("cache"):
                    mended = {name: value for name, value in mended.items() if name != "cache"}
                    marks.part(mended)
                elif "cache" in part:
                    mended = {name: value for name, value in mended.items() if name != "cache"}
                found.append(mended)
    return found


def _legal_part(part: Mapping[str, Any], keep_refusals: bool) -> Mapping[str, Any] | None:
    kind = part.get("type", "text")
    if kind == "text":
        text = part.get("text")
        part = part if "type" in part else {"type": "text", **part}
        return part if isinstance(text, str) and text else None
    if kind == "refusal" and not keep_refusals:
        refusal = part.get("refusal")
        return {"type": "text", "text": refusal} if isinstance(refusal, str) and refusal else None
    return _legal_media(part, kind) if kind in _MEDIA else part


def _legal_media(part: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    inner = part.get(kind)
    if kind == "image_url" and isinstance(inner, str):
        return {**part, kind: {"url": inner}}
    if not isinstance(inner, Mapping):
        return part
    if kind == "input_audio" and "format" not in inner:
        return {**part, kind: {**inner, "format": "wav"}}
    data = inner.get("file_data")
    if kind == "file" and isinstance(data, str) and data and ":" not in data[:40]:
        return {**part, kind: {**inner, "file_data": f"data:{_type_of(inner)};base64,{data}"}}
    return part


def _type_of(file: Mapping[str, Any]) -> str:
    import mimetypes  # noqa: PLC0415 - rare

    return mimetypes.guess_type(str(file.get("filename") or ""))[0] or "application/octet-stream"


def as_text(parts: Sequence[Mapping[str, Any]]) -> tuple[str, list[Mapping[str, Any]]]:
    """Return the text of `parts`, with unknown ones as JSON; and the parts that are pictures, sounds and files."""
    texts = [
        str(part.get("text") or "") if part.get("type") == "text" else json.dumps(part, ensure_ascii=False, default=str)
        for part in parts
        if part.get("type") not in _MEDIA
    ]
    return "\n".join(texts), [part for part in parts if part.get("type") in _MEDIA]


def marked_as_error(content: Any) -> Any:
    """Return the content of a result with a text that says that the tool has failed: the API has no field for it."""
    if isinstance(content, str):
        return content if content.lstrip()[:5].lower() == "error" else f"Error: {content}".rstrip()
    return [{"type": "text", "text": "Error:"}, *content]


def legal_call(call: Mapping[str, Any], call_id: str, tools: Collection[Any]) -> Any:
    """Return a tool call in the API's form; the same object if it already has that.

    Args:
        call: The call.
        call_id: The id to send.
        tools: Names of the tools in the request.
    """
    if type(call) is not dict:
        call = dict(call) if isinstance(call, Mapping) else {}
    if call.get("type") == "custom" and isinstance(call.get("custom"), Mapping):
        return call if call.get("id") == call_id else {**call, "id": call_id}
    function = call.get("function")
    function = function if isinstance(function, Mapping) else {}
    name, arguments = function.get("name"), function.get("arguments")
    new_name = (
        name if isinstance(name, str) and (name in tools or _TOOL_NAME.fullmatch(name)) else _legal_tool_name(name)
    )
    new_arguments = arguments_object(arguments if isinstance(arguments, str) else arguments_text(arguments))
    if new_name is name and new_arguments is arguments and call.get("id") == call_id and call.get("type") == "function":
        return call
    # No server knows other fields of a function; other fields of the call may be the server's own.
    new_function = {"name": new_name, "arguments": new_arguments}
    return {**call, "id": call_id, "type": "function", "function": new_function}


def _legal_tool_name(name: Any) -> str:
    return _NOT_IN_TOOL_NAME.sub("_", name)[:64] if isinstance(name, str) and name else "unknown"


def legal_name(name: Any) -> str:
    """Return the speaker's name in the form that the API accepts; empty if nothing of it can be kept."""
    return _NOT_IN_NAME.sub("_", name)[:64].strip("_") if isinstance(name, str) else ""


def has_file_address(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether `messages` have a file given as a web address."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, Sequence) and not isinstance(content, str) else ():
            file = part.get("file") if isinstance(part, Mapping) and part.get("type") == "file" else None
            data = file.get("file_data") if isinstance(file, Mapping) else None
            if isinstance(data, str) and data[:8].lower().startswith(("http://", "https://")):
                return True
    return False
