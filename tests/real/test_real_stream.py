"""A real model's answer, streamed; and its server killed in the middle of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lee_llm_router import LeeLLMRouter, LLMRouterError
from real import llama

pytestmark = pytest.mark.real

PROMPT = "Count from one to fifty in words, separated by commas."


def _config(address: str, fallback: str | None = None, **stream: Any) -> dict[str, Any]:
    role: dict[str, Any] = {
        "provider": "llama", "model": "smollm2", "temperature": 0, "retry": {"attempts": 1}, "stream": stream,
        "fallback_providers": ["second"] if fallback else [],
    }  # fmt: skip
    providers = {"llama": {"type": "http", "base_url": address}}
    if fallback:
        providers["second"] = {"type": "http", "base_url": fallback}
    return {"llm": {"providers": providers, "roles": {"r": role}}}


def test_a_streamed_answer_equals_the_unstreamed_one(model_server: str) -> None:
    """Many pieces, sync and async; together the same text, finish reason and token counts."""
    with LeeLLMRouter(_config(model_server), trace_store=False) as router:
        whole = router.complete("r", PROMPT)
        stream = router.stream("r", PROMPT)
        pieces = list(stream)

        async def read() -> str:
            return "".join([chunk.text async for chunk in router.stream_async("r", PROMPT)])

        assert asyncio.run(read()) == whole.text
    assert len(pieces) > 5
    assert "".join(piece.text for piece in pieces) == stream.response.text == whole.text
    assert stream.response.finish_reason == whole.finish_reason
    assert stream.response.usage is not None and whole.usage is not None
    assert stream.response.usage.completion_tokens == whole.usage.completion_tokens


def test_a_server_killed_in_mid_answer_ends_the_call_typed_with_the_text_so_far(model: str) -> None:
    """The error carries what came; the caller has seen exactly that, and it is not the whole."""
    with (
        llama.model_process(model) as (server, address),
        LeeLLMRouter(_config(address), trace_store=False) as router,
    ):
        stream = router.stream("r", PROMPT)
        seen = [next(stream).text]
        server.kill()
        with pytest.raises(LLMRouterError) as caught:
            seen.extend(chunk.text for chunk in stream)
    error = caught.value
    assert error.failure_type in ("PROVIDER_ERROR", "INVALID_RESPONSE")
    assert error.response is not None and error.response.text == "".join(seen) != ""
    assert error.response.finish_reason is None


def test_with_restart_a_killed_server_gives_way_to_the_fallback(model: str, model_server: str) -> None:
    """The caller is told to discard the half answer, and then gets the whole one of the other server."""
    with (
        llama.model_process(model) as (server, address),
        LeeLLMRouter(_config(address, model_server, on_break="restart"), trace_store=False) as router,
    ):
        text, restarts = "", 0
        stream = router.stream("r", PROMPT)
        for chunk in stream:
            if server.poll() is None:
                server.kill()
                server.wait()
            restarts += chunk.restart
            text = "" if chunk.restart else text + chunk.text
        whole = stream.response
    assert restarts == 1
    assert whole.provider == "second" and whole.text == text and whole.finish_reason in ("stop", "length")
