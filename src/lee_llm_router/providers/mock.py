"""The provider `mock`: answers and fails as its settings say, without a network. For tests, demos and dry runs.

It returns a fixed text, repeats the question, or plays a script. Each provider of a router plays its script once: all
roles, threads and event loops that use the provider share its position in the script. If a policy overrides a
provider's settings, that makes another provider, which starts at the beginning.

A streamed answer comes in the chunks of the script, or word by word, and may fail in the middle.

Usage counts words (runs of characters without white space). Prompt tokens are the words of all messages; completion
tokens are the words of the answer and of its tool calls' arguments. A failure reports no usage.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from hashlib import shake_256
from itertools import accumulate
from math import sqrt
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.errors import FailureType, LLMRouterError, LLMTimeoutError, error_for
from lee_llm_router.providers.base import Capabilities, Provider, ProviderConfig
from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response.types import (
    LLMRequest,
    LLMResponse,
    LLMUsage,
    StreamChunk,
    ToolCall,
    ToolCallDelta,
    make_response,
    make_usage,
    message_text,
)
from lee_llm_router.settings.fields import Integer, Number
from lee_llm_router.settings.model import RedactingModel

DEFAULT_TEXT = "This answer was made up by the mock provider."
DEFAULT_MODEL = "mock"
DEFAULT_DIMENSIONS = 8

_ANSWER_FIELDS = ("text", "chunks", "echo", "tool_calls", "finish_reason")
_FAILURE_FIELDS = ("message", "status_code", "retry_after", "final", "fail_after")
_SHORT = 1000
"""Longest text, in characters, whose word count is remembered."""
_WORD_WITH_SPACE = re.compile(r"\S+\s*|\s+")


class MockToolCall(RedactingModel):
    """A tool call in a scripted answer."""

    name: str = Field(min_length=1, description="Name of the tool.")
    arguments: dict[str, Any] | str = Field(
        default_factory=dict, description="Arguments; a string is passed on as it is, to simulate broken JSON."
    )
    id: str | None = Field(None, description="Id of the call. Default: call_1, call_2, ...")


class MockStep(RedactingModel):
    """One outcome of a script: an answer, or a failure. With neither, the provider's usual answer.

    With `fail_after` it is both: a streamed answer that fails in the middle.
    """

    text: str | None = Field(None, description="The answer. If streamed, it arrives word by word.")
    chunks: tuple[str, ...] | None = Field(None, description="The answer, as the chunks of its stream.")
    echo: bool = Field(False, description="Answer with the last user message.")
    tool_calls: tuple[MockToolCall, ...] = Field((), description="Tool calls in the answer.")
    finish_reason: str | None = Field(None, description="Default: stop, or tool_calls if there are any.")
    error: FailureType | None = Field(None, description="Fail with this type of failure.")
    message: str | None = Field(None, description="Message of the failure.")
    status_code: Integer | None = Field(None, description="HTTP status of the failure.")
    retry_after: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="Seconds to wait before asking again, as the failure says."
    )
    final: bool = Field(False, description="The failure says that asking this target again is pointless.")
    fail_after: Integer | None = Field(
        None,
        ge=0,
        description="Fail only after this many chunks of a streamed answer. No effect on other answers.",
    )
    pause: Number = Field(
        0.0,
        ge=0,
        description="Seconds before each streamed chunk except the first. If that exceeds the time allowed, TIMEOUT.",
    )
    delay: Number = Field(
        0.0, ge=0, description="Seconds before the outcome. If that exceeds the attempt's timeout, TIMEOUT."
    )
    times: Integer = Field(1, ge=1, description="How often to play it.")

    @model_validator(mode="after")
    def _check_fields_fit(self) -> Self:
        misplaced, preposition = (_FAILURE_FIELDS, "without") if self.error is None else (_ANSWER_FIELDS, "with")
        is_both = self.error is not None and self.fail_after is not None
        for field in misplaced:
            if field in self.model_fields_set and not is_both:
                raise PydanticCustomError("mock_step", f"{field} makes no sense {preposition} error")
        texts = {"echo": self.echo, "text": self.text is not None, "chunks": self.chunks is not None}
        given = [name for name, is_given in texts.items() if is_given]
        if len(given) > 1:
            raise PydanticCustomError("mock_step", f"{given[0]} and {given[1]} exclude each other")
        return self


def _check_not_empty(script: tuple[MockStep, ...]) -> tuple[MockStep, ...]:
    # Not min_length: pydantic would report that too whenever any element is invalid.
    if not script:
        raise PydanticCustomError("mock_script", "must not be empty")
    return script


class MockConfig(ProviderConfig):
    """Settings of a `mock` provider."""

    type: str = Field("mock", description="mock")
    response_text: str = Field(DEFAULT_TEXT, description="The usual answer.")
    echo: bool = Field(False, description="Make the last user message the usual answer instead.")
    script: Annotated[tuple[MockStep, ...], AfterValidator(_check_not_empty)] | None = Field(
        None,
        json_schema_extra={"minItems": 1},
        description="Outcomes, played in order, one per attempt. The last one repeats for ever.",
    )
    loop: bool = Field(False, description="Start the script again after its last outcome.")

    @model_validator(mode="after")
    def _check_consistent(self) -> Self:
        if self.echo and "response_text" in self.model_fields_set:
            raise PydanticCustomError("mock_settings", "echo and response_text exclude each other")
        if self.loop and self.script is None:
            raise PydanticCustomError("mock_settings", "loop needs a script")
        return self


@dataclass(slots=True)
class _PreparedStep:
    """The parts of a step that are the same each time it is played."""

    step: MockStep
    delay: float
    fails: bool
    text: str | None
    """None: the last user message."""
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    words: int
    """Words of text and arguments, without those of a repeated user message."""


class MockProvider(Provider[MockConfig]):
    """Answers and fails as its settings say. See this module's docstring."""

    config_model: ClassVar[type[ProviderConfig]] = MockConfig
    capabilities: ClassVar[Capabilities] = Capabilities(tools=True, content_parts=True, embeddings=True, bounded=True)

    def __init__(self, name: str, config: MockConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        script: Sequence[MockStep] = config.script or (MockStep(),)
        self._script = [self._prepared(step) for step in script]
        self._cumulative_times = tuple(accumulate(step.times for step in script))
        self._played = 0
        self._lock = ForkLock()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Play the next step, after its delay.

        Raises:
            LLMTimeoutError: the delay is longer than `timeout`; raised after `timeout` seconds.
            LLMRouterError: the failure that the step names.
        """
        step = self._next()
        if step.delay:
            self.clock.sleep(min(step.delay, timeout))
        return self._play(step, request, timeout)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Do the same as `complete`, under asyncio."""
        step = self._next()
        if step.delay:
            await self.clock.sleep_async(min(step.delay, timeout))
        return self._play(step, request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Play the next step chunk by chunk, after its delay. Raises as `complete` does, also between chunks."""
        step = self._next()
        if step.delay:
            self.clock.sleep(min(step.delay, timeout))
        return self._play_stream(step, request, timeout)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Do the same as `stream`, under asyncio."""
        step = self._next()
        if step.delay:
            await self.clock.sleep_async(min(step.delay, timeout))
        return self._play_stream(step, request, timeout)

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """Play the next step's delay and failure, but not its answer. The same text always gets the same vector."""
        step = self._next()
        if step.delay:
            self.clock.sleep(min(step.delay, timeout))
        return self._play_embedding(step, request, timeout)

    async def embed_async(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """Do the same as `embed`, under asyncio."""
        step = self._next()
        if step.delay:
            await self.clock.sleep_async(min(step.delay, timeout))
        return self._play_embedding(step, request, timeout)

    def _play_embedding(self, step: _PreparedStep, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        self._check_delay(step, request, timeout)
        if step.fails:
            raise self._failure(step.step, request)
        length = request.dimensions or DEFAULT_DIMENSIONS
        words = sum(map(_count_words, request.inputs))
        return EmbeddingResponse(
            vectors=tuple(_vector_of(text, length) for text in request.inputs),
            usage=LLMUsage(prompt_tokens=words, total_tokens=words),
            model=request.model or DEFAULT_MODEL,
        )

    def _next(self) -> _PreparedStep:
        if len(self._script) == 1:
            return self._script[0]
        with self._lock:
            played, self._played = self._played, self._played + 1
        length = self._cumulative_times[-1]
        position = played % length if self.config.loop else min(played, length - 1)
        return self._script[bisect_right(self._cumulative_times, position)]

    def _play(self, step: _PreparedStep, request: LLMRequest, timeout: float) -> LLMResponse:
        if step.delay:
            self._check_delay(step, request, timeout)
        if step.fails:
            raise self._failure(step.step, request)
        return _answer(step, request)

    def _play_stream(self, step: _PreparedStep, request: LLMRequest, timeout: float) -> ChunkStream:
        self._check_delay(step, request, timeout)
        failure = self._failure(step.step, request) if step.fails else None
        if failure is not None and step.step.fail_after is None:
            raise failure
        chunks = _stream_chunks(_answer(step, request), step.step.chunks)
        given = chunks if failure is None else chunks[: step.step.fail_after]
        return _MockStream(self.clock, given, step.step.pause, failure)

    def _check_delay(self, step: _PreparedStep, request: LLMRequest | EmbeddingRequest, timeout: float) -> None:
        if step.delay > timeout:
            raise LLMTimeoutError(f"no answer within {timeout:.4g} s", provider=self.name, model=_model(request))

    def _prepared(self, step: MockStep) -> _PreparedStep:
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
        words = _count_words(text or "") + sum(_count_words(call.arguments) for call in calls)
        finish_reason = step.finish_reason or ("tool_calls" if calls else "stop")
        return _PreparedStep(step, step.delay, step.error is not None, text, calls, finish_reason, words)

    def _failure(self, step: MockStep, request: LLMRequest | EmbeddingRequest) -> LLMRouterError:
        kind = step.error or FailureType.UNKNOWN
        return error_for(
            kind,
            step.message or f"scripted {kind}",
            provider=self.name,
            model=_model(request),
            status_code=step.status_code,
            retry_after=step.retry_after,
            final=step.final,
        )


class _MockStream(ChunkStream):
    """Yields `chunks` with a `pause` between them, then raises `failure` if there is one."""

    def __init__(
        self, clock: Clock, chunks: Sequence[StreamChunk], pause: float, failure: LLMRouterError | None
    ) -> None:
        self._clock = clock
        self._chunks = iter(chunks)
        self._pause = pause
        self._failure = failure
        self._pulled = False

    def pull(self, timeout: float) -> StreamChunk | None:
        if self._pulled and self._pause:
            self._clock.sleep(min(self._pause, timeout))
        return self._next_chunk(timeout)

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        if self._pulled and self._pause:
            await self._clock.sleep_async(min(self._pause, timeout))
        return self._next_chunk(timeout)

    def _next_chunk(self, timeout: float) -> StreamChunk | None:
        if self._pulled and self._pause > timeout:
            raise LLMTimeoutError(f"the answer did not continue within {timeout:.4g} s")
        self._pulled = True
        chunk = next(self._chunks, None)
        if chunk is None and self._failure is not None:
            raise self._failure
        return chunk


def _answer(step: _PreparedStep, request: LLMRequest) -> LLMResponse:
    text, completion = step.text, step.words
    if text is None:
        asked = [message for message in request.messages if message.get("role") == "user"]
        text = message_text(asked[-1]) if asked else ""
        completion += _count_words(text)
    prompt = 0
    for message in request.messages:
        content = message.get("content")
        prompt += _count_words(content if type(content) is str else message_text(message))
    usage = make_usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
    return make_response(
        text=text,
        tool_calls=step.tool_calls,
        finish_reason=step.finish_reason,
        usage=usage,
        model=request.model or DEFAULT_MODEL,
    )


def _stream_chunks(answer: LLMResponse, texts: Sequence[str] | None) -> list[StreamChunk]:
    texts = _WORD_WITH_SPACE.findall(answer.text) if texts is None else texts
    calls = enumerate(answer.tool_calls)
    return [
        *(StreamChunk(text=text, model=answer.model) for text in texts),
        *(
            StreamChunk(tool_calls=(ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments),))
            for index, call in calls
        ),
        StreamChunk(finish_reason=answer.finish_reason, usage=answer.usage or None, model=answer.model),
    ]


def _vector_of(text: str, length: int) -> tuple[float, ...]:
    """Return a vector of length 1 with `length` numbers, different for each `text`."""
    made = shake_256(text.encode()).digest(2 * length)
    numbers = [int.from_bytes(made[i : i + 2], "big") / 32768 - 1 for i in range(0, 2 * length, 2)]
    size = sqrt(sum(number * number for number in numbers)) or 1.0
    return tuple(number / size for number in numbers)


def _model(request: LLMRequest | EmbeddingRequest) -> str:
    return request.model or DEFAULT_MODEL


def _tool_call(call: MockToolCall, number: int) -> ToolCall:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    return ToolCall(id=call.id or f"call_{number}", name=call.name, arguments=arguments)


@lru_cache(maxsize=256)
def _words_of_short(text: str) -> int:
    return len(text.split())


def _count_words(text: str) -> int:
    # A mock gets the same prompt again and again: counting 12 words anew costs 2.4k instructions.
    return _words_of_short(text) if len(text) <= _SHORT else len(text.split())
