"""What `codex exec --json` prints, taken apart: one JSON event a line, into an answer or what went wrong.

Measured with codex 0.169. Only `turn.completed` and `turn.failed` end a turn; a top-level `error` event does not, nor
does an item of type `error` (a warning). An `agent_message` before a failure is not an answer, however whole it looks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lee_llm_router.response import LLMResponse, LLMUsage

_KEPT = frozenset({"thread.started", "turn.started", "turn.completed", "turn.failed", "item.completed", "error"})


class CodexTurn:
    """The state of one turn, fed line by line."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        """The events worth keeping, in order: no `item.started`, no `item.updated`."""
        self.text = ""
        """The last `agent_message`."""
        self.started = False
        """Whether the turn began: from then on something may have gone out."""
        self.completed = False
        self.failure: str | None = None
        """The message of `turn.failed`."""
        self.usage: LLMUsage | None = None
        self._reasoning: list[str] = []
        self._stray_error = ""

    def feed(self, line: bytes) -> None:
        """Take one line. What is no JSON object with a type is passed over."""
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict) or event.get("type") not in _KEPT:
            return
        self.events.append(event)
        match event["type"]:
            case "turn.started":
                self.started = True
            case "item.completed":
                self._item(_mapping(event.get("item")))
            case "turn.completed":
                self.completed = True
                self.usage = _usage(_mapping(event.get("usage")))
            case "turn.failed":
                self.failure = str(_mapping(event.get("error")).get("message") or "")
            case "error":
                self._stray_error = str(event.get("message") or "")

    @property
    def last_error(self) -> str | None:
        """What codex said of its failure: the end of the turn, or the last error where the turn never ended."""
        if self.failure is None and not self.completed and self._stray_error:
            return self._stray_error
        return self.failure

    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        """The whole answer, if there is one: exit 0, a completed turn, a text that is not empty."""
        if returncode != 0 or not self.completed or self.failure is not None or not self.text:
            return None
        return LLMResponse(
            text=self.text,
            reasoning="\n\n".join(self._reasoning) or None,
            finish_reason="stop",
            usage=self.usage,
            raw=self.events,
            request_bytes=request_bytes,
        )

    def _item(self, item: Mapping[str, Any]) -> None:
        text = item.get("text")
        if not isinstance(text, str):
            return
        if item.get("type") == "agent_message":
            self.text = text
        elif item.get("type") == "reasoning":
            self._reasoning.append(text)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _usage(usage: Mapping[str, Any]) -> LLMUsage | None:
    """Tokens of the turn. Codex prints zeros where the service reported none."""
    prompt, completion = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    if not prompt and not completion:
        return None
    return LLMUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=(prompt or 0) + (completion or 0),
        cached_tokens=_count(usage, "cached_input_tokens"),
        reasoning_tokens=_count(usage, "reasoning_output_tokens"),
    )


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
