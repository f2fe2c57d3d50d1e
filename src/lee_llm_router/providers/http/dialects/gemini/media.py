"""Writes pictures, sounds, files and Gemini's own message parts as parts of `contents`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router.providers.http.dialects.conversation import other_than_text
from lee_llm_router.providers.http.dialects.gemini.settings import is_vertex
from lee_llm_router.response.content import Media, media_of
from lee_llm_router.response.types import Message, message_parts

_OWN = (
    "inlineData", "inline_data", "fileData", "file_data", "executableCode", "executable_code", "codeExecutionResult",
    "code_execution_result", "toolCall", "toolResponse",
)  # fmt: skip
"""Gemini's parts that a caller may write directly."""
_TYPES = {"image": "image/jpeg", "audio": "audio/wav", "file": "application/pdf"}
"""Default types of parts."""
_TEXTS = ("json", "xml", "yaml", "javascript", "typescript", "toml", "sql", "x-sh", "x-python")
"""Words in types of text files that the API does not know by those names."""


def media_part(media: Media, base_url: str) -> dict[str, Any]:
    """Return a picture, a sound or a file as a part: its data, or its address, which the server reads itself."""
    kind = media.media_type.partition(";")[0] if media.kind != "audio" else media.media_type
    if kind.startswith("application/") and any(word in kind for word in _TEXTS):
        kind = "text/plain"
    if media.data is not None:
        data = media.data.translate({45: 43, 95: 47}) if "-" in media.data or "_" in media.data else media.data
        return {"inlineData": {"mimeType": kind or _TYPES[media.kind], "data": data}}
    uri = media.url or _file_uri(media.file_id or "", base_url)
    if not kind and is_vertex(base_url):  # which does not detect it
        kind = _TYPES[media.kind]
    return {"fileData": {"mimeType": kind, "fileUri": uri} if kind else {"fileUri": uri}}


def own_part(part: Mapping[str, Any], base_url: str) -> dict[str, Any] | None:
    """Return a part of another than the usual types in Gemini's form; None if it is another vendor's."""
    if part.get("type") == "video_url":
        url = part.get("video_url")
        media = media_of({"type": "file", "file": {"file_data": url.get("url") if isinstance(url, Mapping) else url}})
        return None if media is None else media_part(media, base_url)
    for name in _OWN:
        if isinstance(part.get(name), Mapping):
            return {name: part[name]}
    return None


def untakable(messages: Sequence[Message], base_url: str) -> str | None:
    """Return why the parts of `messages` cannot be sent; None if they can. Skips plain texts."""
    for message in messages:
        if isinstance(message.get("content"), str) or message.get("role") not in ("user", "tool"):
            continue
        for part in message_parts(message):
            kind = part.get("type")
            if kind == "file" and not _is_known_file(part.get("file")):
                return "it takes only files that were uploaded to Google"
            if message["role"] == "tool":
                continue  # a part of an unknown kind in a result becomes JSON
            usual = kind in ("text", "image_url", "input_audio", "file", "refusal")
            if not usual and not isinstance(part.get("text"), str) and own_part(part, base_url) is None:
                return f"it takes no parts of the type {str(kind)[:60]}"
    other = other_than_text(messages)
    return None if other is None else f"{other} cannot be sent"


def _is_known_file(file: Any) -> bool:
    file_id = file.get("file_id") if isinstance(file, Mapping) else None
    return not isinstance(file_id, str) or file_id.startswith("files/") or "://" in file_id


def _file_uri(file_id: str, base_url: str) -> str:
    """Return the address of an uploaded file, given by its id (``files/abc``) or by its address."""
    return file_id if "://" in file_id else f"{base_url}/{file_id}"
