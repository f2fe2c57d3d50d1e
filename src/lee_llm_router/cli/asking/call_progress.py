"""The progress line of a call: the target in use, the reason for a wait, the next target."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import ceil
from time import monotonic

from lee_llm_router.cli.progress import ProgressLine
from lee_llm_router.telemetry.events import RouterEvent
from lee_llm_router.telemetry.records import target_name


class CallProgress:
    """Updates a progress line from the events of a call; a sink of the router.

    If standard output is a terminal too, the line disappears once the answer begins. Otherwise it counts what has come.

    Args:
        line: The line.
    """

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self._answers_here = sys.stdout.isatty()
        self._target = ""
        self._failure = ""
        self._characters = 0
        self.request_id = ""
        """The id of the latest call."""
        self.targets: list[str] = []
        """The targets that it has asked, in order; repeated ones appear again."""

    def emit(self, event: RouterEvent) -> None:
        """Take an event of the call."""
        target = target_name(event.provider, event.model) if event.provider else ""
        match event.event:
            case "call.start":
                self._failure, self._characters = "", 0
                self.request_id, self.targets = event.request_id, []
                self._line.tell("choosing a target")
                self._line.show()
            case "llm.complete.start":
                self._target = target
                self.targets.append(target)
                self._line.tell(f"asking {target}{self._failure}")
            case "llm.complete.error":
                if event.provider:
                    words = str(event.data.get("failure_type") or "failed").lower().replace("_", " ")
                    self._failure = f", after {target}: {words}"
            case "llm.wait":
                why = self._failure or f": {event.data['reason']}"
                wait_ms = event.data["wait_ms"]
                text = f"waiting for {target}{why}"
                self._line.tell(text if wait_ms is None else _countdown(target, why, wait_ms / 1000))
            case "call.end":
                self._line.hide()
            case "llm.stream.first_token":
                self._line.tell(f"{self._target} answers")

    def answer_begins(self, characters: int = 0) -> None:
        """Called before the answer is written to standard output: `characters` of it now."""
        if self._answers_here:
            self._line.hide()
        else:
            self._characters += characters
            self._line.tell(f"{self._target} answers: {self._characters:,} characters")


def _countdown(target: str, failure: str, seconds: float) -> Callable[[], str]:
    end = monotonic() + seconds
    return lambda: f"waiting {max(0, ceil(end - monotonic()))} s for {target}{failure}"
