"""Parts of a message that are not text: pictures, sounds and files, made from bytes, a file's path or an address.

A caller writes ``{"role": "user", "content": [{"type": "text", "text": "Who is this?"}, image_part("cat.png")]}``. The
functions return parts in the OpenAI shape, which every dialect takes; a dialect reads a part with `media_of`.
"""

from __future__ import annotations

import binascii
import mimetypes
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import InvalidRequestError

MediaSource: TypeAlias = "bytes | str | os.PathLike[str]"
"""Bytes; an address (``https://``, ``data:``, a vendor's ``gs://``); or a file's path."""
MediaKind: TypeAlias = Literal["image", "audio", "file"]

MAX_MEDIA_BYTES = 100 * 1024 * 1024
"""The largest file that is read into a part, in bytes."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|[^/\\])")
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),(?P<data>.*)", re.DOTALL)
_STARTS = {
    b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"%PDF-": "application/pdf",
    b"ID3": "audio/mpeg", b"\xff\xfb": "audio/mpeg", b"fLaC": "audio/flac", b"OggS": "audio/ogg",
}  # fmt: skip
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}
_KINDS: dict[str, MediaKind] = {"image_url": "image", "input_audio": "audio", "file": "file"}
"""The kind of media for each part type."""
_AUDIO_FORMATS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/x-wav": "wav", "audio/wave": "wav"}
_AUDIO_TYPES = {"mp3": "audio/mpeg"}


@dataclass(frozen=True, slots=True)
class Media:
    """A part of a message that is not text, in any of its forms. One of `data`, `url` and `file_id` is set."""

    kind: MediaKind
    media_type: str
    """Its MIME type; empty if nothing states it (an address without a known ending)."""
    data: str | None = None
    """The content in Base64."""
    url: str | None = None
    file_id: str | None = None
    """The vendor's own id of an uploaded file."""
    name: str | None = None
    detail: str | None = None
    """How closely the model looks at a picture: the vendor's word (``low``, ``high``)."""

    @property
    def data_url(self) -> str:
        """The content as a URL: a data URL if the part holds data."""
        return self.url or f"data:{self.media_type};base64,{self.data or ''}"


def image_part(source: MediaSource, *, media_type: str | None = None, detail: str | None = None) -> dict[str, Any]:
    """Return a picture as a part of a message.

    Args:
        source: Its bytes, its address, or the path of its file, which is read now.
        media_type: Its MIME type (``image/png``). Default: detected from the bytes, else from the file's name.
        detail: How closely the model looks at it, if the vendor has words for that (``low``, ``high``).

    Raises:
        InvalidRequestError: the file cannot be read, is larger than `MAX_MEDIA_BYTES`, or has an unknown type.
    """
    url, _ = _url_of(source, media_type)
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}


def audio_part(source: bytes | os.PathLike[str] | str, *, media_type: str | None = None) -> dict[str, Any]:
    """Return a sound as a part of a message: its bytes, the path of its file, or a data URL.

    Raises:
        InvalidRequestError: as `image_part`, or it is an address, which the OpenAI shape cannot hold.
    """
    url, _ = _url_of(source, media_type)
    media = _from_url("audio", url)
    if media.data is None:
        raise _wrong("audio is sent as bytes, not by its address")
    kind = media.media_type.partition(";")[0]
    return {"type": "input_audio", "input_audio": {
        "data": media.data, "format": _AUDIO_FORMATS.get(kind) or kind.removeprefix("audio/").removeprefix("x-"),
    }}  # fmt: skip


def file_part(source: MediaSource, *, media_type: str | None = None, name: str | None = None) -> dict[str, Any]:
    """Return a file (a PDF, say) as a part of a message: its bytes, its address, or its path.

    Args:
        source: As for `image_part`.
        media_type: As for `image_part`.
        name: The file name that the model sees. Default: the name of the file at the path.

    Raises:
        InvalidRequestError: as `image_part`.
    """
    url, found = _url_of(source, media_type)
    name = name or found
    return {"type": "file", "file": {"file_data": url} | ({"filename": name} if name else {})}


def media_of(part: Mapping[str, Any]) -> Media | None:
    """Return the content of a part that is a picture, a sound or a file; None for text and unknown parts.

    Takes the shapes of OpenAI's chat completions (`image_url`, `input_audio`, `file`).

    Raises:
        InvalidRequestError: the part has such a type but no content.
    """
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        image = image if isinstance(image, Mapping) else {"url": image}
        detail = image.get("detail")
        return _from_url("image", image.get("url"), detail=detail if isinstance(detail, str) else None)
    if kind == "input_audio":
        audio = part.get("input_audio")
        audio = audio if isinstance(audio, Mapping) else {}
        data, form = audio.get("data"), str(audio.get("format") or "wav")
        if not isinstance(data, str) or not data:
            raise _wrong("a part of the type input_audio has no data")
        return Media("audio", _AUDIO_TYPES.get(form, f"audio/{form}"), data=data)
    if kind == "file":
        return _file_of(part.get("file"))
    return None


def media_kinds(messages: Sequence[Mapping[str, Any]]) -> set[MediaKind]:
    """Return the kinds of media in the parts of `messages`, judged by the parts' types."""
    found: set[MediaKind] = set()
    for message in messages:
        content = message.get("content")
        if isinstance(content, Sequence) and not isinstance(content, str):
            types = (part.get("type") for part in content if isinstance(part, Mapping))
            found.update(_KINDS[kind] for kind in types if isinstance(kind, str) and kind in _KINDS)
    return found


def _file_of(file: Any) -> Media:
    file = file if isinstance(file, Mapping) else {}
    name = file.get("filename")
    name = name if isinstance(name, str) else None
    if isinstance(file.get("file_id"), str):
        return Media("file", "", file_id=file["file_id"], name=name)
    data = file.get("file_data")
    if isinstance(data, str) and data and not _ADDRESS.match(data):
        # Some write plain base64; the file name then gives the type.
        return Media("file", _type_by_name(name or "") or "application/octet-stream", data=data, name=name)
    return _from_url("file", data, name=name)


def _from_url(kind: MediaKind, url: Any, *, name: str | None = None, detail: str | None = None) -> Media:
    if not isinstance(url, str) or not url:
        raise _wrong(f"a part of a message that is a{'n' if kind != 'file' else ''} {kind} has no content")
    match = _DATA_URL.match(url)
    if match is None:
        return Media(kind, _type_by_name(url.partition("?")[0]), url=url, name=name, detail=detail)
    media_type, data = match["type"], match["data"]
    if ";base64" not in match["parameters"]:
        from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - rare

        data = b64encode(unquote_to_bytes(data)).decode()
    else:
        data = "".join(data.split())
        try:
            b64decode(data[:64] if len(data) % 4 == 0 else data, validate=True)
        except (ValueError, binascii.Error):
            raise _wrong(f"the data URL of a part of the type {kind} holds no base64") from None
    return Media(kind, media_type, data=data, name=name, detail=detail)


def _url_of(source: MediaSource, media_type: str | None) -> tuple[str, str | None]:
    """Return `source` as a URL, and the name of its file if it is one."""
    if isinstance(source, str) and _ADDRESS.match(source):
        return source, None
    name: str | None = None
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        path = Path(source)
        name, data = path.name, _read(path)
    found = media_type or media_type_of(data, name or "")
    if not found:
        raise _wrong(f"the type of {name or 'the bytes'} is not known: pass media_type")
    return f"data:{found};base64,{b64encode(data).decode()}", name


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # A device or a pipe does not report its size, and may never end.
            size = os.fstat(file.fileno()).st_size
            data = file.read(MAX_MEDIA_BYTES + 1) if size <= MAX_MEDIA_BYTES else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        raise _wrong(f"{path.name} cannot be read: {reason}") from None
    if data is None or len(data) > MAX_MEDIA_BYTES:
        raise _wrong(f"{path.name} is larger than {MAX_MEDIA_BYTES:,} bytes")
    return data


def media_type_of(data: bytes, name: str = "") -> str:
    """Return the MIME type of `data`: by its first bytes, else by the ending of `name`; empty if neither tells."""
    return _type_of_bytes(data) or _type_by_name(name)


def _type_of_bytes(data: bytes) -> str:
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "")
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), "")


def _type_by_name(name: str) -> str:
    return mimetypes.guess_type(name)[0] or ""


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, sent=False)
