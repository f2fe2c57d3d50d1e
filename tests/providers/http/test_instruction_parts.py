"""Pictures, sounds and files in instructions: sent where the vendor takes them, else never left out without a word."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.responses_requests import PNG, input_of
from lee_llm_router import LeeLLMRouter, UnavailableError, audio_part, file_part, image_part

PARTS = {
    "a picture": image_part(PNG),
    "a sound": audio_part(b"ID3\x04", media_type="audio/mpeg"),
    "a file": file_part(b"%PDF-1.7", name="rules.pdf"),
    "a part of the type hologram": {"type": "hologram", "hologram": "h"},
}


def router(vendor: str, *fallbacks: str) -> LeeLLMRouter:
    first = {"type": vendor, "base_url": "http://127.0.0.1:9", "api_key_env": None}
    spare = {"type": "mock", "response_text": "from the spare"}
    role = {"provider": "first", "model": "m", "fallback_providers": list(fallbacks)}
    return LeeLLMRouter(
        {"llm": {"providers": {"first": first, "spare": spare}, "roles": {"r": role}}}, trace_store=False
    )


def messages(role: str, part: Any) -> list[Any]:
    return [{"role": role, "content": [{"type": "text", "text": "Talk like this."}, part]},
            {"role": "user", "content": "Hello"}]  # fmt: skip


@pytest.mark.parametrize("what", PARTS)
@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("vendor", ["anthropic", "gemini"])
def test_a_target_whose_instructions_are_text_only_is_skipped_and_says_why(vendor: str, role: str, what: str) -> None:
    asked = messages(role, PARTS[what])
    with router(vendor, "spare") as several:
        assert several.complete("r", asked).text == "from the spare"
    with router(vendor) as alone, pytest.raises(UnavailableError, match=f"{what} in the instructions|kind audio"):
        alone.complete("r", asked)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_openai_responses_gets_them_in_their_place(role: str) -> None:
    [instruction, _] = input_of(*messages(role, PARTS["a picture"]))
    assert instruction["role"] == role
    assert [part["type"] for part in instruction["content"]] == ["input_text", "input_image"]


@pytest.mark.parametrize("vendor", ["anthropic", "gemini"])
def test_parts_of_text_in_instructions_are_sent_as_ever(vendor: str) -> None:
    """Nothing is asked of the spare: the target is tried, and nobody listens there."""
    with router(vendor) as alone, pytest.raises(Exception, match=r"onnect|refused"):
        alone.complete("r", messages("system", {"type": "text", "text": "And so."}))
