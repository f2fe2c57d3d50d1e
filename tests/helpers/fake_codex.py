"""A stand-in for the codex binary, and the lines that it prints."""

from __future__ import annotations

from typing import Any, ClassVar

from helpers.fake_agent import FakeAgent

HELP = """Usage: codex exec [OPTIONS] [PROMPT]
  -c, --config <key=value>
      --skip-git-repo-check
      --ephemeral
      --ignore-user-config
      --ignore-rules
      --output-schema <FILE>
      --color <COLOR>
      --json
  -s, --sandbox <SANDBOX_MODE>
  -C, --cd <DIR>
  -m, --model <MODEL>
"""
METADATA_WARNING = {
    "type": "item.completed",
    "item": {"id": "item_0", "type": "error", "message": "Model metadata for `m` not found. Defaulting to fallback."},
}
USAGE = {
    "input_tokens": 101, "cached_input_tokens": 40, "cache_write_input_tokens": 0, "output_tokens": 23,
    "reasoning_output_tokens": 5,
}  # fmt: skip
BEGIN: list[Any] = [{"type": "thread.started", "thread_id": "t"}, METADATA_WARNING, {"type": "turn.started"}]


def message(text: str) -> dict[str, Any]:
    """Return the event of an answer."""
    return {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": text}}


def answer(text: str, usage: dict[str, int] | None = None) -> list[Any]:
    """Return the lines of a successful turn."""
    return [*BEGIN, message(text), {"type": "turn.completed", "usage": USAGE if usage is None else usage}]


def failure(text: str) -> list[Any]:
    """Return the lines of a failed turn."""
    return [*BEGIN, {"type": "error", "message": text}, {"type": "turn.failed", "error": {"message": text}}]


class FakeCodex(FakeAgent):
    """A fake codex in a separate folder."""

    name = "codex"
    usual: ClassVar[dict[str, Any]] = {"lines": answer("hello"), "help": HELP, "version": "codex-cli 0.169.0"}

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Return the calls that asked for an answer."""
        return [call for call in self.calls if call["argv"][-1] == "-"]
