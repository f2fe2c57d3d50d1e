"""The question: the prompt with its files and pictures, as messages."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import typer

from lee_llm_router.cli.arguments import text_of

_STANDARD_INPUT = "-"


def user_message(
    prompt: str, files: Iterable[str] | None = None, images: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return a user's message: the texts of files, the prompt, and non-text content as parts.

    Raises:
        typer.BadParameter: a file or a picture cannot be read, or has an unknown type.
    """
    texts: list[str] = []
    parts: list[dict[str, Any]] = []
    for name in files or ():
        found = _file(str(text_of(name, "--file")))
        if isinstance(found, str):
            texts.append(found)
        else:
            parts.append(found)
    parts += [_image(str(text_of(name, "--image"))) for name in images or ()]
    text = "\n\n".join([*texts, prompt])
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts] if parts else text}


def conversation(system: str | None, message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a call: instructions, if there are any, and the user's message."""
    instructions = text_of(system, "--system")
    return [message] if instructions is None else [{"role": "system", "content": instructions}, message]


def takes_standard_input(files: Sequence[str] | None) -> bool:
    """Whether one of `files` is standard input, which then cannot be the prompt."""
    return _STANDARD_INPUT in (files or ())


def _file(name: str) -> str | dict[str, Any]:
    """Return a file as text if it is text, otherwise as a part of a message."""
    from lee_llm_router.errors import InvalidRequestError  # noqa: PLC0415
    from lee_llm_router.response.content import audio_part, file_part, image_part, media_type_of  # noqa: PLC0415

    data = _bytes(name)
    shown = "standard input" if name == _STANDARD_INPUT else Path(name).name
    kind = media_type_of(data)
    if not kind:
        text = _text(data)
        if text is not None:
            return f"<file name={quoteattr(shown)}>\n{text}\n</file>"
        kind = media_type_of(data, shown)
    if not kind or kind.startswith("text/"):
        raise typer.BadParameter(f"{shown}: neither UTF-8 text nor a known kind of file", param_hint="--file")
    try:
        if kind.startswith("image/"):
            return image_part(data, media_type=kind)
        if kind.startswith("audio/"):
            return audio_part(data, media_type=kind)
        return file_part(data, media_type=kind, name=shown)
    except InvalidRequestError as error:
        raise typer.BadParameter(error.message, param_hint="--file") from None


def _text(data: bytes) -> str | None:
    """Return `data` as text; None if it is not text. UTF-16 is recognized by its byte order mark."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.strip("\r\n")


def _bytes(name: str) -> bytes:
    from lee_llm_router.response.content import MAX_MEDIA_BYTES  # noqa: PLC0415

    try:
        if name == _STANDARD_INPUT:
            data = sys.stdin.buffer.read(MAX_MEDIA_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_MEDIA_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        raise typer.BadParameter(f"{name}: cannot be read: {reason}", param_hint="--file") from None
    if len(data) > MAX_MEDIA_BYTES:
        raise typer.BadParameter(f"{name}: larger than {MAX_MEDIA_BYTES:,} bytes", param_hint="--file")
    return data


def _image(source: str) -> dict[str, Any]:
    from lee_llm_router.errors import InvalidRequestError  # noqa: PLC0415
    from lee_llm_router.response.content import image_part  # noqa: PLC0415

    try:
        return image_part(source)
    except InvalidRequestError as error:
        raise typer.BadParameter(error.message, param_hint="--image") from None
