"""Reads the output of `codex exec --json`, one JSON event per line, and finds the answer or the failure in it.

Measured with codex 0.169. Only `turn.completed` and `turn.failed` end a turn. A top-level `error` event does not, nor
does an item of type `error`, which is a warning. An `agent_message` before a failure is never an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lee_llm_router._util.numbers import count
from lee_llm_router.providers.agents.failures import Failure
from lee_llm_router.providers.agents.turn import AgentTurn, json_event, plain_text
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.providers.codex_cli.failures import classify
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.response.details import NO_DETAILS, AnswerDetails
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage

_KEPT_EVENTS = frozenset({"thread.started", "turn.started", "turn.completed", "turn.failed", "item.completed", "error"})


class CodexTurn(AgentTurn):
    """The state of one turn, updated with each line of output."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        """The events worth keeping, in order; `item.started` and `item.updated` are not."""
        self._failure: str | None = None
        """The message of `turn.failed`."""
        self._reasoning: list[str] = []
        self._stray_error = ""
        self._session_id: str | None = None

    def feed(self, line: bytes) -> None:
        """Process one line. Events not worth keeping are ignored."""
        event = json_event(line)
        if event is None or not isinstance(kind := event.get("type"), str):
            return
        if kind.startswith("item."):
            # An item of type `error` is codex's own warning.
            self.acted = self.acted or mapping(event.get("item")).get("type") != "error"
        if kind not in _KEPT_EVENTS:
            return
        self.events.append(event)
        match kind:
            case "thread.started":
                self._session_id = plain_text(event.get("thread_id")) or None
            case "turn.started":
                self.started = True
            case "item.completed":
                self._take_item(mapping(event.get("item")))
            case "turn.completed":
                self.completed = True
                self.usage = _usage(mapping(event.get("usage")))
            case "turn.failed":
                self._failure = plain_text(mapping(event.get("error")).get("message"))
            case "error":
                self._stray_error = plain_text(event.get("message"))

    @property
    def last_error(self) -> str | None:
        """The message of the failure: from `turn.failed`, or from the last `error` event if the turn never ended."""
        if self._failure is None and not self.completed and self._stray_error:
            return self._stray_error
        return self._failure

    @property
    def has_failed(self) -> bool:
        """See `AgentTurn.has_failed`."""
        return self.last_error is not None

    def failure(self, result: ChildResult, now: float) -> Failure:
        """See `AgentTurn.failure`."""
        return classify(self.last_error, result.returncode, result.stderr.decode(errors="replace"), now)

    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        """Return the answer if it is complete: exit code 0, a completed turn, a non-empty text."""
        if returncode != 0 or not self.completed or self._failure is not None or not self.text:
            return None
        return LLMResponse(
            text=self.text,
            reasoning="\n\n".join(self._reasoning) or None,
            finish_reason="stop",
            usage=self.usage or UNREPORTED,
            raw=self.events,
            request_bytes=request_bytes,
            details=AnswerDetails(id=self._session_id) if self._session_id else NO_DETAILS,
        )

    def _take_item(self, item: Mapping[str, Any]) -> None:
        if not isinstance(item.get("text"), str):
            return
        text = plain_text(item["text"])
        if item.get("type") == "agent_message":
            self.text = text
        elif item.get("type") == "reasoning":
            self._reasoning.append(text)


def _usage(usage: Mapping[str, Any]) -> LLMUsage | None:
    """Return the tokens of the turn; None for zeros, which codex prints if the service reported nothing."""
    prompt, completion = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if not prompt and not completion:
        return None
    return LLMUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=(prompt or 0) + (completion or 0),
        cached_tokens=count(usage.get("cached_input_tokens")),
        cache_write_tokens=count(usage.get("cache_write_input_tokens")),
        reasoning_tokens=count(usage.get("reasoning_output_tokens")),
    )
