"""Reads the output of ``gemini --output-format stream-json``, one JSON event per line, and the service's responses.

Measured with gemini 0.61. A `result` event ends a run. Its status is `success` even for an answer that was cut off by
the token limit or withdrawn by a filter: only the recorded responses of the service tell why an answer ended. A signal
ends gemini with exit code 0 and without a `result`. Gemini may also end before it has printed everything, if much is
waiting (it prints the prompt, too): then only the record is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lee_llm_router._util.numbers import count
from lee_llm_router._util.regular_files import read_regular_file
from lee_llm_router.providers.agents.failures import Failure
from lee_llm_router.providers.agents.turn import AgentTurn, json_event, plain_text
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.providers.gemini_cli.failures import classify, failure_of_finish
from lee_llm_router.providers.gemini_cli.prompt import LONG_PROMPT
from lee_llm_router.providers.http.dialects.half_characters import HalfCharacters
from lee_llm_router.providers.http.dialects.json_body import mapping, string
from lee_llm_router.response.details import AnswerDetails
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, StreamChunk

_FINISHED = {"STOP": "stop", "MAX_TOKENS": "length"}
_KEPT_EVENTS = frozenset({"init", "tool_use", "tool_result", "error", "result"})
MAX_RECORD = 1 << 26
"""Most bytes to read of the recorded responses."""


class GeminiTurn(AgentTurn):
    """The state of one run, updated with each line of output.

    Args:
        record: The file with the service's responses.
        prompt_bytes: Size of the prompt.
        agent: Whether gemini has its tools. If so, what it writes before a tool call is not its answer.
    """

    def __init__(self, record: Path, prompt_bytes: int, *, agent: bool) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        """The events worth keeping, in order: all except the pieces of text."""
        self._record = record
        self._prompt_bytes = prompt_bytes
        self._agent = agent
        self._pieces: list[str] = []
        self._halves = HalfCharacters()
        self._session: str | None = None
        self._result: Mapping[str, Any] | None = None
        self._model: str | None = None
        self._error: str | None = None

    def feed(self, line: bytes) -> StreamChunk | None:
        """Process one line. A line that is no event is ignored."""
        event = json_event(line)
        if event is None or not isinstance(kind := event.get("type"), str):
            return None
        if kind in _KEPT_EVENTS:
            self.events.append(event)
        match kind:
            case "init":
                self.started = True
                self._session = string(event.get("session_id"))
            case "message" if event.get("role") == "assistant" and isinstance(event.get("content"), str):
                self.acted = True
                self._pieces.append(event["content"])
                # A character may be split between two pieces.
                text, _, _ = self._halves.join(event["content"], "", ())
                return StreamChunk(text=text) if text and not self._agent else None
            case "tool_use":
                self.acted = True
                if self._agent:
                    self._pieces.clear()
            case "error" if event.get("severity") == "error":
                self._error = plain_text(event.get("message"))
            case "result":
                self._take_result(event)
        return None

    def _take_result(self, event: Mapping[str, Any]) -> None:
        self.completed = True
        self._result = event
        stats = mapping(event.get("stats"))
        self.usage = _usage(stats)
        self._model = _served(mapping(stats.get("models")))
        if event.get("status") != "success":
            said = plain_text(mapping(event.get("error")).get("message"))
            self._error = said or self._error or "gemini failed and gave no reason"

    @property
    def has_failed(self) -> bool:
        """See `AgentTurn.has_failed`."""
        return self._error is not None

    @property
    def received(self) -> LLMResponse | None:
        """See `AgentTurn.received`."""
        self.text = plain_text("".join(self._pieces))
        return super().received

    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        """Return the answer if it is complete: exit code 0, no error, text, and a good finish reason."""
        if returncode != 0 or self._error is not None:
            return None
        reply = _last_reply(self._record)
        reason = _finish_reason(reply)
        if self._result is None and not self._take_reply(reply):
            return None
        text = plain_text("".join(self._pieces))
        if reason not in _FINISHED or not text:
            return None
        return LLMResponse(
            text=text,
            reasoning=plain_text("".join(_texts(reply, thoughts=True))) or None,
            finish_reason=_FINISHED[reason],
            usage=self.usage or UNREPORTED,
            model=self._model,
            raw=self.events,
            request_bytes=request_bytes,
            details=AnswerDetails(id=self._session, finish_reason=reason),
        )

    def _take_reply(self, reply: list[Any]) -> bool:
        """Use the recorded answer if the printed one is incomplete and the recorded one ended a run."""
        calls = [one for candidate in _candidates(reply) for one in _parts(candidate) if "functionCall" in one]
        if calls or not _finish_reason(reply):
            return False
        self._pieces = _texts(reply, thoughts=False)
        self._result = {}
        found = [mapping(mapping(one).get("usageMetadata")) for one in reply]
        self.usage = _recorded_usage(next((usage for usage in reversed(found) if usage), {}))
        return True

    def failure(self, result: ChildResult, now: float) -> Failure:
        """See `AgentTurn.failure`."""
        reply = _last_reply(self._record)
        # Gemini asks nothing if a prompt is too long, and what it prints of it may keep the result from being printed.
        is_done = self._result is not None or (not reply and self._prompt_bytes > LONG_PROMPT)
        if self._error is None and is_done and result.returncode == 0:
            return failure_of_finish(_finish_reason(reply), self._prompt_bytes, asked=bool(reply))
        blocked = bool(reply) and not _candidates(reply)
        return classify(self._error, result, now, prompt_blocked=blocked)


def _last_reply(record: Path) -> list[Any]:
    """Return the pieces of the service's last answer, unchanged; empty if there is none."""
    try:
        lines = read_regular_file(record, MAX_RECORD, follow=False).splitlines()
    except OSError:
        return []
    for line in reversed(lines):
        entry = json_event(line)
        if entry is not None and entry.get("method") == "generateContentStream":
            return entry["response"] if isinstance(entry.get("response"), list) else []
    return []


def _candidates(reply: list[Any]) -> list[Mapping[str, Any]]:
    found = []
    for piece in reply:
        candidates = mapping(piece).get("candidates")
        if isinstance(candidates, list) and candidates:
            found.append(mapping(candidates[0]))
    return found


def _parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = mapping(candidate.get("content")).get("parts")
    return [mapping(part) for part in parts] if isinstance(parts, list) else []


def _finish_reason(reply: list[Any]) -> str:
    """Return the service's finish reason; empty if it gave none."""
    reasons = [string(candidate.get("finishReason")) for candidate in _candidates(reply)]
    return next((reason for reason in reversed(reasons) if reason), "")


def _texts(reply: list[Any], *, thoughts: bool) -> list[str]:
    parts = [part for candidate in _candidates(reply) for part in _parts(candidate)]
    return [string(part.get("text")) or "" for part in parts if (part.get("thought") is True) is thoughts]


def _served(models: Mapping[str, Any]) -> str | None:
    """Return the name of the model that wrote most: others may have been asked to choose one."""
    written = {name: count(mapping(stats).get("output_tokens")) or 0 for name, stats in models.items()}
    return plain_text(max(written, key=lambda name: written[name])) if written else None


def _usage(stats: Mapping[str, Any]) -> LLMUsage | None:
    """Return the tokens of the run; None for zeros, which gemini prints if the service reported nothing."""
    return _tokens(*(count(stats.get(name)) for name in ("input_tokens", "output_tokens", "total_tokens", "cached")))


def _recorded_usage(usage: Mapping[str, Any]) -> LLMUsage | None:
    names = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "cachedContentTokenCount")
    return _tokens(*(count(usage.get(name)) for name in names))


def _tokens(prompt: int | None, output: int | None, total: int | None, cached: int | None) -> LLMUsage | None:
    if not prompt and not output:
        return None
    # Only the total includes tokens of thought.
    thoughts = None if total is None else max(0, total - (prompt or 0) - (output or 0))
    return LLMUsage(
        prompt_tokens=prompt,
        completion_tokens=(output or 0) + (thoughts or 0),
        total_tokens=total,
        cached_tokens=cached,
        reasoning_tokens=thoughts,
    )
