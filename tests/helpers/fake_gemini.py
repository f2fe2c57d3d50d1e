"""A stand-in for the gemini binary, and the lines that it prints."""

from __future__ import annotations

from typing import Any, ClassVar

from helpers.fake_agent import FakeAgent

HELP = """Usage: gemini [options] [command]
  -m, --model                     Model  [string]
      --skip-trust                Trust the current workspace for this session.
      --approval-mode             Set the approval mode
  -e, --extensions                A list of extensions to use.
  -o, --output-format             The format of the CLI output.
      --raw-output                Disable sanitization of model output
      --accept-raw-output-risk    Suppress the security warning when using --raw-output.
"""
STATS = {
    "total_tokens": 127, "input_tokens": 100, "output_tokens": 20, "cached": 40, "input": 60, "duration_ms": 55,
    "tool_calls": 0, "models": {"gemini-served-001": {"total_tokens": 127, "input_tokens": 100, "output_tokens": 20}},
}  # fmt: skip
NO_STATS = {
    "total_tokens": 0, "input_tokens": 0, "output_tokens": 0, "cached": 0, "input": 0, "duration_ms": 0,
    "tool_calls": 0, "models": {"gemini-asked": {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}},
}  # fmt: skip
BEGIN: list[Any] = [
    {"type": "init", "timestamp": "2026-01-01T00:00:00.000Z", "session_id": "session-1", "model": "gemini-asked"},
    {"type": "message", "role": "user", "content": "hello"},
]
NOISE = "Warning: 256-color support not detected.\nRipgrep is not available. Falling back to GrepTool.\n"


def piece(text: str) -> dict[str, Any]:
    """Return the event of a piece of text."""
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


def result(status: str = "success", message: str | None = None, stats: Any = None) -> dict[str, Any]:
    """Return the event that ends a run."""
    error = {} if message is None else {"error": {"type": "unknown", "message": message}}
    return {"type": "result", "status": status, **error, "stats": STATS if stats is None else stats}


def answer(*texts: str, stats: Any = None) -> list[Any]:
    """Return the lines of a run that gave these pieces of text."""
    return [*BEGIN, *map(piece, texts), result(stats=stats)]


def failure(message: str) -> list[Any]:
    """Return the lines of a run that failed."""
    return [*BEGIN, result("error", message, NO_STATS)]


def sent(text: str, reason: str | None = "STOP", *thoughts: str) -> list[Any]:
    """Return what the service sent, as gemini records it."""
    parts = [{"text": one, "thought": True} for one in thoughts] + [{"text": text}]
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
    return [{"candidates": [candidate if reason is None else {**candidate, "finishReason": reason}]}]


class FakeGemini(FakeAgent):
    """A fake gemini in a separate folder."""

    name = "gemini"
    usual: ClassVar[dict[str, Any]] = {
        "lines": answer("hel", "lo"), "record": sent("hello"), "help": HELP, "version": "0.61.0",
    }  # fmt: skip
