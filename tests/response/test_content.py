"""Pictures, sounds and files as parts of a message: from bytes, paths and addresses; and how dialects read them."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import InvalidRequestError, audio_part, file_part, image_part
from lee_llm_router.response import content
from lee_llm_router.response.content import media_of

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt "


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"), (b"\xff\xd8\xff\xe0aa", "image/jpeg"), (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)  # fmt: skip
def test_a_picture_of_bytes_is_a_data_url_of_its_type(data: bytes, media_type: str) -> None:
    part = image_part(data, detail="low")
    media = media_of(part)
    assert media is not None
    assert (media.kind, media.media_type, media.detail) == ("image", media_type, "low")
    assert media.data == b64encode(data).decode()
    assert part["image_url"]["url"] == media.data_url


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_read_and_gives_its_name(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "trip.pdf"
    path.write_bytes(b"%PDF-1.7 x")
    media = media_of(file_part(kind(path)))
    assert media is not None
    assert (media.kind, media.media_type, media.name) == ("file", "application/pdf", "trip.pdf")


@pytest.mark.parametrize(
    "url", ["https://example.com/cat.png?x=1", "gs://bucket/cat.png", "data:image/png;base64,QUJD"]
)
def test_an_address_goes_as_it_is(url: str) -> None:
    assert image_part(url) == {"type": "image_url", "image_url": {"url": url}}
    media = media_of(image_part(url))
    assert media is not None and media.media_type == "image/png" and media.data_url == url


def test_a_sound_has_the_format_that_the_shape_wants() -> None:
    part = audio_part(WAV)
    assert part == {"type": "input_audio", "input_audio": {"data": b64encode(WAV).decode(), "format": "wav"}}
    assert audio_part(b"ID3abc")["input_audio"]["format"] == "mp3"
    media = media_of(audio_part(b"ID3abc"))
    assert media is not None and media.media_type == "audio/mpeg"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: image_part(b"nothing known"), "media_type"),
        (lambda: image_part("/nowhere/cat.png"), "cat.png cannot be read"),
        (lambda: image_part("/"), "cannot be read"),
        (lambda: file_part("a\0b"), "cannot be read"),
        (lambda: audio_part("https://example.com/a.wav"), "not by its address"),
        (lambda: media_of({"type": "image_url"}), "no content"),
        (lambda: media_of({"type": "image_url", "image_url": {"url": 7}}), "no content"),
        (lambda: media_of({"type": "input_audio", "input_audio": {}}), "no data"),
        (lambda: media_of({"type": "file", "file": None}), "no content"),
        (lambda: media_of({"type": "image_url", "image_url": "data:image/png;base64,%%%%"}), "no base64"),
    ],
)
def test_what_is_no_content_is_refused_clearly(make: Any, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        make()


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 101 * 1024 * 1024)
    with pytest.raises(InvalidRequestError, match="larger than"):
        image_part(path)


def test_a_device_that_never_ends_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it holds nothing; reading all of it would take all memory."""
    monkeypatch.setattr(content, "MAX_MEDIA_BYTES", 1000)
    with pytest.raises(InvalidRequestError, match="larger than"):
        image_part("/dev/zero")


def test_text_and_unknown_parts_are_no_media() -> None:
    assert media_of({"type": "text", "text": "hi"}) is None
    assert media_of({"type": "thinking", "thinking": "hm"}) is None
