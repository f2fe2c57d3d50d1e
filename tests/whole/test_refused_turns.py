"""A conversation goes on where a vendor does not take back what it once said in its own form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.servers import Received, Server, answering_by, json_answer
from helpers.stream_support import router_to
from lee_llm_router import LLMRouterError
from lee_llm_router.response.details import NativeTurn, native_origin, with_native

CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
BLOCK = {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}
ITEM = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OWN: dict[str, Any] = {
    "openai_chat": {"message": {"reasoning_content": "KEPT"}, "calls": [{"extra_content": "KEPT"}]},
    "openai_responses": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "KEPT"}, ITEM],
    "anthropic": [{"type": "thinking", "thinking": "KEPT", "signature": "s"}, BLOCK],
    "gemini": {"parts": [{"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "KEPT"}]},
}
TYPES = {"openai_chat": "http", "openai_responses": "openai_responses", "anthropic": "anthropic", "gemini": "gemini"}
REFUSALS = {
    "openai_chat": ["Thought signature is not valid.", "reasoning_content is not allowed in messages[1]"],
    "openai_responses": [
        "The encrypted content gAAA could not be verified. Reason: it could not be decrypted or parsed.",
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
        "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false.",
    ],
    "anthropic": [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.",
    ],
    "gemini": ["Corrupted thought signature."],
}
OTHERS = [
    (400, "The model needs more money."),
    (400, "Function call is missing a thought_signature in functionCall parts."),
    (400, "The reasoning_content in the thinking mode must be passed back to the API."),
    (401, "Invalid signature"),
]


def _kept(dialect: str, status: int, text: str, calls: int = 1, model: str = "m") -> list[bool]:
    """Return for each request of some equal calls whether it had the turn in the vendor's own form.

    The server refuses those that have it with `status` and `text`, and others with something else.
    """
    kept: list[bool] = []

    def script(received: Received) -> bytes:
        kept.append("KEPT" in received.body.decode())
        return json_answer({"error": {"message": text if kept[-1] else "enough"}}, status if kept[-1] else 400)

    with Server(answering_by(script)) as server, router_to(server.url, type=TYPES[dialect]) as router:
        origin = native_origin(server.url.split("/")[2], model)
        native = NativeTurn(dialect=dialect, origin=origin, content=OWN[dialect])
        message = with_native({"role": "assistant", "content": None, "tool_calls": [CALL]}, native)
        result = {"role": "tool", "tool_call_id": "call_1", "content": "seen"}
        for _ in range(calls):
            with pytest.raises(LLMRouterError):
                router.complete("r", json.loads(json.dumps([{"role": "user", "content": "Look."}, message, result])))
    return kept


@pytest.mark.parametrize(("dialect", "text"), [(dialect, text) for dialect in REFUSALS for text in REFUSALS[dialect]])
def test_a_turn_that_its_vendor_refuses_is_sent_as_text_and_calls_from_then_on(dialect: str, text: str) -> None:
    """The vendor is asked again at once; later calls with that turn are not refused first."""
    assert _kept(dialect, 400, text, calls=2) == [True, False, False]


@pytest.mark.parametrize("dialect", TYPES)
@pytest.mark.parametrize(("status", "text"), OTHERS)
def test_another_failure_takes_nothing_from_a_turn(dialect: str, status: int, text: str) -> None:
    """Least of all one that says that something of the turn is missing."""
    assert _kept(dialect, status, text) == [True]


@pytest.mark.parametrize("dialect", TYPES)
def test_a_turn_of_another_model_is_not_to_blame(dialect: str) -> None:
    """It is not sent as it came anyway, so that the same request would be sent again."""
    assert _kept(dialect, 400, "Invalid signature", model="other") == [False]
