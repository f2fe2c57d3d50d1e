"""What the output of one run means: it is fed line by line, and holds an answer or a failure in the end."""

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
        """The text of the answer so far. It is attached to an error."""
        self.usage: LLMUsage | None = None
        self.started = False
        """Whether the turn has begun: from then on a request may have been sent."""
        self.acted = False
        """Whether the service has answered with anything, be it a thought: it has taken the login or key."""
        self.completed = False
        """Whether all that is wanted of the output has been read."""
        self.over = False
        """Whether the run is to be ended at once: nothing that may still come is wanted."""

    @abstractmethod
    def feed(self, line: bytes) -> StreamChunk | None:
        """Process one line, and return what it adds to a streamed answer. A line that means nothing is ignored."""

    @property
    @abstractmethod
    def has_failed(self) -> bool:
        """Whether the output names a failure; a timeout after it is that failure."""

    @abstractmethod
    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        """Return the answer if it is whole; None if it is not, or if the run failed.

        Args:
            returncode: The exit code of the program; None if it was ended because the turn is `over`.
            request_bytes: Size of the request.
        """

    @abstractmethod
    def failure(self, result: ChildResult, now: float) -> Failure:
        """Return the failure that a run without an answer stands for.

        Args:
            result: How the program ended.
            now: Seconds since 1970 UTC, to turn a time of day into a wait.
        """

    @property
    def received(self) -> LLMResponse | None:
        """What has come of an answer; None if nothing has."""
        return LLMResponse(text=self.text, usage=self.usage or UNREPORTED) if self.text or self.usage else None


def json_event(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a line holds; None if it holds none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def plain_text(value: object) -> str:
    """Return a value as text that UTF-8 can carry: JSON can spell half of a pair of surrogates."""
    if value is not None and not isinstance(value, str):
        # Of any shape and depth: a message should be text.
        value = json.dumps(value) if isinstance(value, (int, float)) else ""
    return (value or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
