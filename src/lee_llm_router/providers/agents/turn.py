"""What the output of one run means: it gets line after line, and in the end has an answer or a failure."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from lee_llm_router.providers.agents.failures import Failure
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, StreamChunk


class AgentTurn(ABC):
    """The state of one run, updated with each line of its output."""

    def __init__(self) -> None:
        self.text = ""
        """The text of the answer so far. Attached to errors."""
        self.usage: LLMUsage | None = None
        self.started = False
        """Whether the turn has begun: from then on a request may have been sent."""
        self.acted = False
        """Whether the service has answered with anything, even a thought: it has accepted the login or key."""
        self.completed = False
        """Whether all relevant output has been read."""
        self.over = False
        """Whether to end the run at once: nothing that may still come is needed."""

    @abstractmethod
    def feed(self, line: bytes) -> StreamChunk | None:
        """Process one line, and return what it adds to a streamed answer. A meaningless line is ignored."""

    @property
    @abstractmethod
    def has_failed(self) -> bool:
        """Whether the output names a failure; a later timeout counts as that failure."""

    @abstractmethod
    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        """Return the answer if it is complete; None if it is not, or if the run failed.

        Args:
            returncode: The exit code of the program; None if it was ended because the turn is `over`.
            request_bytes: Size of the request.
        """

    @abstractmethod
    def failure(self, result: ChildResult, now: float) -> Failure:
        """Return the failure of a run without an answer.

        Args:
            result: How the program ended.
            now: Seconds since 1970 UTC, to turn a time of day into a wait.
        """

    @property
    def received(self) -> LLMResponse | None:
        """The answer so far; None if nothing has arrived."""
        return LLMResponse(text=self.text, usage=self.usage or UNREPORTED) if self.text or self.usage else None


def json_event(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line; None if it holds none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def plain_text(value: object) -> str:
    """Return a value as text that UTF-8 can encode: JSON can contain half of a surrogate pair."""
    if value is not None and not isinstance(value, str):
        # It may have any shape and depth: a message should be text.
        value = json.dumps(value) if isinstance(value, (int, float)) else ""
    return (value or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
