"""What the server of `responses_server` does to be a Gemini API that goes wrong in every way."""

from __future__ import annotations

import json
from typing import Any

from real.responses_server import Behaviour, Exchange, status

USAGE = {
    "promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 127, "cachedContentTokenCount": 40,
    "thoughtsTokenCount": 7,
}  # fmt: skip


def part(text: str | None = None, finish: str | None = None, usage: Any = None, **more: Any) -> dict[str, Any]:
    """Return one event of a stream."""
    parts = [] if text is None else [{"text": text, **more}]
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    usage_part = {} if usage is None else {"usageMetadata": usage}
    return {"candidates": [candidate], "modelVersion": "gemini-served-001", "responseId": "r1", **usage_part}


def events(*found: dict[str, Any], garbage: str = "") -> Behaviour:
    """A stream of these events."""

    def behave(exchange: Exchange) -> None:
        exchange.open()
        for one in found:
            exchange.raw(f"data: {json.dumps(one)}\r\n\r\n")
        if garbage:
            exchange.raw(f"data: {garbage}\r\n\r\n")

    return behave


def answer(*texts: str) -> Behaviour:
    """A good stream in these pieces."""
    return events(*map(part, texts[:-1]), part(texts[-1], "STOP", USAGE))


def refusal(code: int, message: str, state: str, *details: dict[str, Any]) -> Behaviour:
    """An error of the API."""
    found = {"details": list(details)} if details else {}
    return status(code, {"error": {"code": code, "message": message, "status": state, **found}})


def quota(period: str, delay: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the details of a limit that was reached."""
    prefix = "type.googleapis.com/google.rpc"
    violation = {"quotaId": f"GenerateRequestsPer{period}PerProjectPerModel-FreeTier", "quotaValue": "20"}
    return (
        {"@type": f"{prefix}.QuotaFailure", "violations": [violation]},
        {"@type": f"{prefix}.RetryInfo", "retryDelay": delay},
    )


def half_then_silence(exchange: Exchange) -> None:
    """A piece of an answer, then nothing."""
    exchange.open()
    exchange.raw(f"data: {json.dumps(part('half'))}\r\n\r\n")
    exchange.silence()
