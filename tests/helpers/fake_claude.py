"""A stand-in for the claude binary, and the lines that it prints."""

from __future__ import annotations

from typing import Any, ClassVar

from helpers.fake_agent import FakeAgent

HELP = """Usage: claude [options] [command] [prompt]
  -p, --print
  --output-format <format>
  --include-partial-messages
  --verbose
  --tools <tools...>
  --strict-mcp-config
  --setting-sources <sources>
  --model <model>
  --effort <level>
  --system-prompt <prompt>   context via: --system-prompt[-file]
  --permission-mode <mode>
  --no-session-persistence
  --disable-slash-commands
  --bare
"""
USAGE = {
    "input_tokens": 61, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 40, "output_tokens": 23,
    "server_tool_use": {"web_search_requests": 0}, "service_tier": "standard",
}  # fmt: skip
NO_USAGE = dict.fromkeys(USAGE, 0)
SESSION = {"session_id": "6fd0a9d8-session"}
INIT = {
    "type": "system", "subtype": "init", "tools": [], "model": "claude-some", "apiKeySource": "none", **SESSION,
}  # fmt: skip
REQUESTING = {"type": "system", "subtype": "status", "status": "requesting", **SESSION}


def piece(kind: str, **event: Any) -> dict[str, Any]:
    """Return an event of the Messages API as claude passes it on."""
    return {"type": "stream_event", "event": {"type": kind, **event}, "parent_tool_use_id": None, **SESSION}


def message_start(number: int = 1, model: str = "claude-some-served") -> dict[str, Any]:
    """Return the event that begins a message."""
    return piece("message_start", message={
        "id": f"msg_{number}", "role": "assistant", "content": [], "model": model, "stop_reason": None,
        "usage": {**USAGE, "output_tokens": 1},
    })  # fmt: skip


def text_piece(text: str) -> dict[str, Any]:
    """Return a piece of a text."""
    return piece("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def message_end(stop_reason: str = "end_turn") -> list[dict[str, Any]]:
    """Return the events that end a message."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [piece("message_delta", delta=delta, usage={"output_tokens": 23}), piece("message_stop")]


def block(number: int = 1, model: str = "claude-some-served", **content: Any) -> dict[str, Any]:
    """Return the event of one whole block of a message."""
    message = {"id": f"msg_{number}", "role": "assistant", "model": model, "content": [content], "stop_reason": None}
    return {"type": "assistant", "message": message, "parent_tool_use_id": None, **SESSION}


def text_message(*pieces: str, number: int = 1, stop_reason: str = "end_turn") -> list[Any]:
    """Return the events of a message of one text."""
    whole = block(number, type="text", text="".join(pieces))
    return [message_start(number), *map(text_piece, pieces), whole, *message_end(stop_reason)]


def synthetic(text: str, error: str | None = None) -> dict[str, Any]:
    """Return a message that claude wrote itself."""
    event = block(9, "<synthetic>", type="text", text=text)
    return event if error is None else {**event, "error": error}


def result(text: str, **fields: Any) -> dict[str, Any]:
    """Return the event that ends a run."""
    return {
        "type": "result", "subtype": "success", "is_error": False, "api_error_status": None, "result": text,
        "stop_reason": "end_turn", "num_turns": 1, "total_cost_usd": 0.0125, "usage": USAGE,
        "terminal_reason": "completed", **SESSION, **fields,
    }  # fmt: skip


def answer(*pieces: str, **fields: Any) -> list[Any]:
    """Return the lines of a successful run."""
    return [INIT, REQUESTING, *text_message(*pieces), result("".join(pieces), **fields)]


def failure(text: str, error: str = "unknown", status: int | None = None, **fields: Any) -> list[Any]:
    """Return the lines of a failed run, which exits with 1."""
    fields = {"stop_reason": "stop_sequence", **fields}
    told = result(text, is_error=True, api_error_status=status, usage=NO_USAGE, total_cost_usd=0, **fields)
    return [INIT, REQUESTING, synthetic(text, error), told]


def limit(resets_at: int | None, status: str = "rejected", **fields: Any) -> dict[str, Any]:
    """Return what the service says of the plan's limits."""
    info = {"status": status, "isUsingOverage": False, **fields}
    if resets_at is not None:
        info["resetsAt"] = resets_at
    return {"type": "rate_limit_event", "rate_limit_info": info, **SESSION}


class FakeClaude(FakeAgent):
    """A fake claude in a separate folder."""

    name = "claude"
    usual: ClassVar[dict[str, Any]] = {"lines": answer("hello"), "help": HELP, "version": "2.1.197 (Claude Code)"}
