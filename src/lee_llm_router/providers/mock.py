"""The provider `mock`: answers and fails as its settings say, with no network. For tests, demos and dry runs.

It gives a fixed text, repeats the question, or plays a script. A script's place is kept for each provider of a router:
all roles, threads and event loops that share the provider share it, and a provider whose settings a policy overrides
plays a script of its own.

Streamed, an answer comes in the pieces the script has, else word by word, and may fail in the middle.

Usage is counted in words (runs of characters without white space): prompt tokens are the words of all messages,
completion tokens the words of the answer and of the arguments of its tool calls. A failure reports none.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import FailureType, LLMRouterError, LLMTimeoutError, error_of
from lee_llm_router.providers.base import Capabilities, ChunkStream, Provider, ProviderConfig
from lee_llm_router.response import (
    LLMRequest,
    LLMResponse,
    LLMUsage,
    StreamChunk,
    ToolCall,
    ToolCallDelta,
    message_text,
)
from lee_llm_router.settings.fields import Integer, Number
from lee_llm_router.settings.model import RedactingModel

DEFAULT_TEXT = "This answer was made up by the mock provider."
DEFAULT_MODEL = "mock"

_OF_AN_ANSWER = ("text", "chunks", "echo", "tool_calls", "finish_reason")
_OF_A_FAILURE = ("message", "status_code", "retry_after", "final", "fail_after")
_WORDS = re.compile(r"\S+\s*|\s+")


class MockToolCall(RedactingModel):
    """A tool call in a scripted answer."""

    name: str = Field(min_length=1, description="Name of the tool.")
    arguments: dict[str, Any] | str = Field(
        default_factory=dict, description="Arguments; a string is passed on as it is, to show broken JSON."
    )
    id: str | None = Field(None, description="Id of the call. Default: call_1, call_2, ...")


class MockStep(RedactingModel):
    """One outcome of a script: an answer, or a failure. With neither, the provider's usual answer.

    With `fail_after` it is both: a streamed answer that breaks off.
    """

    text: str | None = Field(None, description="The answer. Streamed, it comes word by word.")
    chunks: tuple[str, ...] | None = Field(None, description="The answer, in the pieces it is streamed in.")
    echo: bool = Field(False, description="Answer with the last user message.")
    tool_calls: tuple[MockToolCall, ...] = Field((), description="Tools the answer calls.")
    finish_reason: str | None = Field(None, description="Default: stop, or tool_calls if there are any.")
    error: FailureType | None = Field(None, description="Fail, in this way.")
    message: str | None = Field(None, description="What the failure says.")
    status_code: Integer | None = Field(None, description="HTTP status the failure carries.")
    retry_after: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="Seconds after which the failure says to ask again."
    )
    final: bool = Field(False, description="The failure says that asking this target again is pointless.")
    fail_after: Integer | None = Field(
        None,
        ge=0,
        description="Streamed, fail only after so many pieces of the answer. Unstreamed, it makes no change.",
    )
    pause: Number = Field(
        0.0, ge=0, description="Seconds before each streamed piece but the first. Past the time allowed, TIMEOUT."
    )
    delay: Number = Field(0.0, ge=0, description="Seconds before it. Past the attempt's timeout, TIMEOUT is raised.")
    times: Integer = Field(1, ge=1, description="How often it is played.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        wrong, what = (_OF_A_FAILURE, "without") if self.error is None else (_OF_AN_ANSWER, "with")
        both = self.error is not None and self.fail_after is not None
        for field in wrong:
            if field in self.model_fields_set and not both:
                raise PydanticCustomError("mock_step", f"{field} makes no sense {what} error")
        texts = {"echo": self.echo, "text": self.text is not None, "chunks": self.chunks is not None}
        given = [name for name, is_given in texts.items() if is_given]
        if len(given) > 1:
            raise PydanticCustomError("mock_step", f"{given[0]} and {given[1]} exclude each other")
        return self


def _not_empty(script: tuple[MockStep, ...]) -> tuple[MockStep, ...]:
    # Not min_length: pydantic reports it as well wherever an element is wrong.
    if not script:
        raise PydanticCustomError("mock_script", "must not be empty")
    return script


class MockConfig(ProviderConfig):
    """Settings of a `mock` provider."""

    type: str = Field("mock", description="mock")
    response_text: str = Field(DEFAULT_TEXT, description="The usual answer.")
    echo: bool = Field(False, description="The usual answer is the last user message instead.")
    script: Annotated[tuple[MockStep, ...], AfterValidator(_not_empty)] | None = Field(
        None,
        json_schema_extra={"minItems": 1},
        description="Outcomes, played in order, one an attempt. The last one is played for ever.",
    )
    loop: bool = Field(False, description="Start the script again after its last outcome.")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.echo and "response_text" in self.model_fields_set:
            raise PydanticCustomError("mock_settings", "echo and response_text exclude each other")
        if self.loop and self.script is None:
            raise PydanticCustomError("mock_settings", "loop needs a script")
        return self


_Said: TypeAlias = tuple[str | None, tuple[ToolCall, ...], str, int]
"""What a step's answer says: its text (None: the last user message), tool calls, finish reason, and its words but for
those of a last user message."""


class MockProvider(Provider[MockConfig]):
    """Plays its settings. See the module's text."""

    config_model: ClassVar[type[ProviderConfig]] = MockConfig
    capabilities: ClassVar[Capabilities] = Capabilities(tools=True, content_parts=True, bounded=True)

    def __init__(self, name: str, config: MockConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._script: Sequence[MockStep] = config.script or (MockStep(),)
        self._said = {id(step): self._prepared(step) for step in self._script}
        self._ends = tuple(accumulate(step.times for step in self._script))
        self._played = 0
        self._lock = ForkLock()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Play the next outcome, after its delay.

        Raises:
            LLMTimeoutError: the delay is longer than `timeout`; raised after `timeout` seconds.
            LLMRouterError: the failure the script says.
        """
        step = self._next()
        if step.delay:
            self.clock.sleep(min(step.delay, timeout))
        return self._outcome(step, request, timeout)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`."""
        step = self._next()
        if step.delay:
            await self.clock.sleep_async(min(step.delay, timeout))
        return self._outcome(step, request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Play the next outcome piece by piece, after its delay. Raises as `complete`, in the middle too."""
        step = self._next()
        if step.delay:
            self.clock.sleep(min(step.delay, timeout))
        return self._stream(step, request, timeout)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`."""
        step = self._next()
        if step.delay:
            await self.clock.sleep_async(min(step.delay, timeout))
        return self._stream(step, request, timeout)

    def _next(self) -> MockStep:
        if len(self._script) == 1:
            return self._script[0]
        with self._lock:
            played, self._played = self._played, self._played + 1
        place = played % self._ends[-1] if self.config.loop else min(played, self._ends[-1] - 1)
        return self._script[bisect_right(self._ends, place)]

    def _outcome(self, step: MockStep, request: LLMRequest, timeout: float) -> LLMResponse:
        if step.delay:
            self._check_delay(step, request, timeout)
        if step.error is not None:
            raise self._failure(step, step.error, request)
        return self._answer(step, request)

    def _stream(self, step: MockStep, request: LLMRequest, timeout: float) -> ChunkStream:
        self._check_delay(step, request, timeout)
        failure = None if step.error is None else self._failure(step, step.error, request)
        if failure is not None and step.fail_after is None:
            raise failure
        pieces = _pieces(self._answer(step, request), step.chunks)
        return _MockStream(self.clock, pieces if failure is None else pieces[: step.fail_after], step.pause, failure)

    def _check_delay(self, step: MockStep, request: LLMRequest, timeout: float) -> None:
        if step.delay > timeout:
            raise LLMTimeoutError(f"no answer within {timeout:.4g} s", provider=self.name, model=_model(request))

    def _answer(self, step: MockStep, request: LLMRequest) -> LLMResponse:
        text, calls, finish_reason, completion = self._said[id(step)]
        if text is None:
            asked = [message for message in request.messages if message.get("role") == "user"]
            text = message_text(asked[-1]) if asked else ""
            completion += _words(text)
        prompt = 0
        for message in request.messages:
            prompt += _words(message_text(message))
        usage = LLMUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
        return LLMResponse(
            text=text,
            tool_calls=calls,
            finish_reason=finish_reason,
            usage=usage,
            model=request.model or DEFAULT_MODEL,
        )

    def _prepared(self, step: MockStep) -> _Said:
        text: str | None = self.config.response_text
        if step.text is not None:
            text = step.text
        elif step.chunks is not None:
            text = "".join(step.chunks)
        elif step.tool_calls and not step.echo:
            text = ""
        elif step.echo or self.config.echo:
            text = None
        calls = tuple(_tool_call(call, number) for number, call in enumerate(step.tool_calls, 1))
        words = _words(text or "") + sum(_words(call.arguments) for call in calls)
        return text, calls, step.finish_reason or ("tool_calls" if calls else "stop"), words

    def _failure(self, step: MockStep, kind: FailureType, request: LLMRequest) -> LLMRouterError:
        return error_of(
            kind,
            step.message or f"scripted {kind}",
            provider=self.name,
            model=_model(request),
            status_code=step.status_code,
            retry_after=step.retry_after,
            final=step.final,
        )


class _MockStream(ChunkStream):
    """Gives `pieces`, with a `pause` between them; then fails, if there is a `failure`."""

    def __init__(
        self, clock: Clock, pieces: Sequence[StreamChunk], pause: float, failure: LLMRouterError | None
    ) -> None:
        self._clock = clock
        self._pieces = iter(pieces)
        self._pause = pause
        self._failure = failure
        self._pulled = False

    def pull(self, timeout: float) -> StreamChunk | None:
        if self._pulled and self._pause:
            self._clock.sleep(min(self._pause, timeout))
        return self._piece(timeout)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        if self._pulled and self._pause:
            await self._clock.sleep_async(min(self._pause, timeout))
        return self._piece(timeout)

    def _piece(self, timeout: float) -> StreamChunk | None:
        if self._pulled and self._pause > timeout:
            raise LLMTimeoutError(f"the answer did not go on within {timeout:.4g} s")
        self._pulled = True
        piece = next(self._pieces, None)
        if piece is None and self._failure is not None:
            raise self._failure
        return piece


def _pieces(answer: LLMResponse, chunks: Sequence[str] | None) -> list[StreamChunk]:
    texts = _WORDS.findall(answer.text) if chunks is None else chunks
    calls = enumerate(answer.tool_calls)
    return [
        *(StreamChunk(text=text, model=answer.model) for text in texts),
        *(
            StreamChunk(tool_calls=(ToolCallDelta(index=place, id=call.id, name=call.name, arguments=call.arguments),))
            for place, call in calls
        ),
        StreamChunk(finish_reason=answer.finish_reason, usage=answer.usage, model=answer.model),
    ]


def _model(request: LLMRequest) -> str:
    return request.model or DEFAULT_MODEL


def _tool_call(call: MockToolCall, number: int) -> ToolCall:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    return ToolCall(id=call.id or f"call_{number}", name=call.name, arguments=arguments)


def _words(text: str) -> int:
    return len(text.split())
