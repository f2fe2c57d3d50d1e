"""Reads the output of `claude -p --output-format stream-json`, one JSON event per line. Finds the answer or the
failure.

Measured with 2.1.197. What to know about its events:

- `result` ends a run. Its `subtype` is `success` even after a failure: only `is_error` counts.
- An `assistant` event holds one whole block of a message, so a message takes several events. Claude itself writes those
  of the model `<synthetic>`: a failure, or the answer to a command like `/help`, but never a model's answer.
- A `stream_event` is an unchanged event of the Messages API: the pieces of a text, why a message ended, and tokens.
- Claude continues by itself if an answer was cut (`max_tokens`), empty or a tool call, and then reports the last piece
  as the result. A plain completion is one request: it is over when a message ends in such a way. It does not wait until
  claude says that it continues, since claude may have sent its next request by then.
- An event with a `parent_tool_use_id` belongs to an agent that this agent has started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lee_llm_router._util.numbers import amount, count
from lee_llm_router.providers.agents.failures import Failure
from lee_llm_router.providers.agents.turn import AgentTurn, json_event, plain_text
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.providers.claude_cli.failures import Report, classify
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.response.details import AnswerDetails
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, StreamChunk

SYNTHETIC = "<synthetic>"
NO_CONTENT = "(no content)"
"""What versions before 2.1 put in place of an empty text."""
_CUT = "max_tokens"
_TOOL_USE = "tool_use"
_REFUSED = "refusal"
"""An answer that was refused is a failure that claude itself reports, with the reason."""


class ClaudeTurn(AgentTurn):
    """The state of one run, updated with each line of output.

    Args:
        agent: Whether the model has tools, so that a run takes several requests.
        is_billed: Whether anybody pays the cost that claude reports.
    """

    def __init__(self, *, agent: bool, is_billed: bool) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        """The events worth keeping, in order; pieces of messages are not."""
        self.session_id: str | None = None
        self._agent = agent
        self._is_billed = is_billed
        self._message_id: object = None
        self._unfinished = ""
        """The pieces of an incomplete block."""
        self._model: str | None = None
        self._reasoning: list[str] = []
        self._usage: dict[str, Any] = {}
        self._stop_reason: str | None = None
        self._is_cut = False
        self._limit: Mapping[str, Any] = {}
        self._error: Mapping[str, Any] = {}
        self._result: Mapping[str, Any] | None = None

    def feed(self, line: bytes) -> StreamChunk | None:
        """Process one line; return the piece of text in it."""
        event = json_event(line)
        if event is None or self.over or event.get("parent_tool_use_id") is not None:
            return None
        match event.get("type"):
            case "stream_event":
                return self._take_piece(mapping(event.get("event")))
            case "system":
                self.started = True
                if isinstance(session := event.get("session_id"), str):
                    self.session_id = plain_text(session)
            case "assistant":
                self._take_message(mapping(event.get("message")), event)
            case "user":
                # The result of a tool, or claude's own message to the model: another request will follow.
                self.over = not self._agent
            case "rate_limit_event":
                self._limit = mapping(event.get("rate_limit_info"))
            case "result":
                self._result = event
                self.completed = True
                self.usage = _usage(mapping(event.get("usage"))) or self.usage
            case _:
                return None
        self.events.append(event)
        return None

    @property
    def has_failed(self) -> bool:
        """See `AgentTurn.has_failed`."""
        return bool(self._error) if self._result is None else self._result.get("is_error") is not False

    @property
    def received(self) -> LLMResponse | None:
        """See `AgentTurn.received`."""
        text = self.text + self._unfinished
        return LLMResponse(text=text, usage=self.usage or UNREPORTED) if text or self.usage else None

    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        """Return the answer if it is complete: written by a model, in one piece or cut by its token limit, and not
        empty."""
        result = self._result or {}
        if self.has_failed or not self.acted or not self.text or (self._is_cut and self._agent):
            return None
        if not self._is_cut and (returncode != 0 or self._result is None or self.over):
            return None
        cost = amount(result.get("total_cost_usd")) if self._is_billed else None
        return LLMResponse(
            text=self.text,
            reasoning="\n\n".join(self._reasoning) or None,
            finish_reason="length" if self._is_cut else "stop",
            usage=self.usage or UNREPORTED,
            cost_usd=cost or None,
            model=self._model,
            raw=self.events,
            request_bytes=request_bytes,
            details=AnswerDetails(id=self.session_id, finish_reason=self._stop_reason),
        )

    def failure(self, result: ChildResult, now: float) -> Failure:
        """See `AgentTurn.failure`."""
        told = self._result or {}
        texts = [told.get("result"), *_errors(told.get("errors")), _text_of(self._error)]
        report = Report(
            text=next((plain_text(text) for text in texts if text), ""),
            code=plain_text(self._error.get("error")),
            status=count(told.get("api_error_status")),
            stop_reason=plain_text(told.get("stop_reason")),
            terminal_reason=plain_text(told.get("terminal_reason")),
            limit=self._limit,
            is_told=self.has_failed,
            is_cut=self._is_cut,
            is_unasked=self.completed and not self.acted,
            is_over=self.over,
        )
        return classify(report, result.returncode, result.stderr.decode(errors="replace"), now)

    def _take_piece(self, event: Mapping[str, Any]) -> StreamChunk | None:
        match event.get("type"):
            case "message_start":
                self._begin_message(mapping(event.get("message")))
            case "content_block_delta":
                delta = mapping(event.get("delta"))
                text, thought = plain_text(delta.get("text")), plain_text(delta.get("thinking"))
                self._unfinished += text
                # What an agent says before it uses a tool is not part of its answer.
                return StreamChunk(text=text, reasoning=thought) if (text or thought) and not self._agent else None
            case "message_delta":
                self._stop_reason = plain_text(mapping(event.get("delta")).get("stop_reason")) or None
                self._add_usage(event.get("usage"))
                # After a cut, an agent's next text continues the previous one, unless it has used a tool since.
                self._is_cut = self._stop_reason == _CUT or (self._is_cut and self._stop_reason != _TOOL_USE)
                self.over = self._goes_on and not self._agent
        return None

    @property
    def _goes_on(self) -> bool:
        """Whether claude sends another request after the message that has just ended."""
        if self._stop_reason in (None, _REFUSED):
            return False
        return self._is_cut or self._stop_reason == _TOOL_USE or not (self.text or self._unfinished)

    def _begin_message(self, message: Mapping[str, Any]) -> None:
        self.acted = True
        self._message_id = message.get("id")
        self._stop_reason = None
        self.text = self._unfinished = ""
        self._take_model(message)
        self._add_usage(message.get("usage"))

    def _take_message(self, message: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        if message.get("model") == SYNTHETIC:
            self._error = event if event.get("error") else self._error
            return
        self.acted = True
        if message.get("id") != self._message_id:
            # This claude does not show the pieces.
            self._begin_message(message)
        for block in _blocks(message):
            if block.get("type") == "text":
                text = plain_text(block.get("text"))
                self.text += "" if text == NO_CONTENT and not self._unfinished else text
                self._unfinished = ""
            elif block.get("type") == "thinking" and block.get("thinking"):
                self._reasoning.append(plain_text(block.get("thinking")))

    def _take_model(self, message: Mapping[str, Any]) -> None:
        if isinstance(model := message.get("model"), str):
            self._model = plain_text(model) or self._model

    def _add_usage(self, usage: object) -> None:
        self._usage.update({name: value for name, value in mapping(usage).items() if value is not None})
        self.usage = _usage(self._usage) or self.usage


def _blocks(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    return map(mapping, content if isinstance(content, list) else [])


def _text_of(event: Mapping[str, Any]) -> str:
    return "\n".join(plain_text(block.get("text")) for block in _blocks(mapping(event.get("message"))))


def _errors(errors: object) -> list[str]:
    return [plain_text(error) for error in errors] if isinstance(errors, list) else []


def _usage(usage: Mapping[str, Any]) -> LLMUsage | None:
    """Return the tokens used; None for zeros, which claude prints if no model was asked."""
    plain, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    cached, cache_writes = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    prompt = (plain or 0) + (cached or 0) + (cache_writes or 0)
    if not prompt and not written:
        return None
    return LLMUsage(
        prompt_tokens=prompt,
        completion_tokens=written,
        total_tokens=prompt + (written or 0),
        cached_tokens=cached,
        cache_write_tokens=cache_writes,
    )
