"""A streamed answer while it comes in: what is there, how long the next piece may take, and the whole at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lee_llm_router.errors import InvalidResponseError, LLMTimeoutError
from lee_llm_router.response import LLMResponse, LLMUsage, StreamChunk, ToolCall, ToolCallDelta


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stream may take. Moments are on the router's monotonic clock, durations in seconds."""

    first_by: float
    """The moment by which the first real output must have come."""
    idle: float
    """The longest time between two pieces from then on; time spent in the caller does not count."""
    deadline_at: float


class Assembly:
    """Puts the pieces of one attempt together. Pure; whoever pulls the pieces tells it the time.

    Args:
        patience: The bounds on its pieces.
        index: Number of the next piece handed on, counted over the call.
        restart: Whether the caller already has output of an earlier attempt, to be discarded with the first piece.
        on_start: Called with the moment of the first real output.
    """

    def __init__(
        self, patience: Patience, *, index: int = 0, restart: bool = False, on_start: Callable[[float], None]
    ) -> None:
        self.index = index
        self.started = False
        self._patience = patience
        self._restart = restart
        self._on_start = on_start
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, list[str]] = {}
        self._finish_reason: str | None = None
        self._usage: LLMUsage | None = None
        self._cost_usd: float | None = None
        self._model: str | None = None
        self._request_bytes: int | None = None

    def wait(self, now: float) -> float:
        """Seconds the next piece may take.

        Raises:
            LLMTimeoutError: none are left.
        """
        bound = self._patience.deadline_at if self.started else self._patience.first_by
        left = bound - now
        if left <= 0:
            what = "the call's deadline passed in the answer" if self.started else "no output in time"
            raise LLMTimeoutError(what)
        return min(left, self._patience.idle) if self.started else left

    def too_slow(self, waited: float) -> LLMTimeoutError:
        """Return the error for a piece that did not come within `waited` seconds, as `wait` gave them."""
        return LLMTimeoutError(f"no {'further ' if self.started else ''}output within {waited:.4g} s")

    def feed(self, chunk: StreamChunk, clock: Callable[[], float]) -> Sequence[StreamChunk]:
        """Take a piece; give what is to be handed on. Pieces that say nothing are kept back."""
        self._keep(chunk)
        if self.started:
            says = chunk.text or chunk.is_output or chunk.finish_reason or chunk.usage
            return (self._numbered(chunk),) if says else ()
        if not chunk.is_output:
            return ()
        self.started = True
        self._on_start(clock())
        first = (self._numbered(StreamChunk(restart=True)),) if self._restart else ()
        return (*first, self._numbered(chunk))

    def finish(self) -> LLMResponse:
        """The whole answer, equal to what an unstreamed call gives.

        Raises:
            InvalidResponseError: the stream ended without a finish reason.
        """
        if self._finish_reason is None:
            raise InvalidResponseError("the stream ended without a finish reason")
        return self.so_far()

    def so_far(self) -> LLMResponse:
        """What has come in until now, as an answer; not a whole one before the stream has ended."""
        tools = (ToolCall(id=t[0], name=t[1], arguments="".join(t[2:])) for _, t in sorted(self._tools.items()))
        return LLMResponse(
            text="".join(self._text),
            reasoning="".join(self._reasoning) or None,
            tool_calls=tuple(tools),
            finish_reason=self._finish_reason,
            usage=self._usage,
            cost_usd=self._cost_usd,
            model=self._model,
            request_bytes=self._request_bytes,
        )

    def _keep(self, chunk: StreamChunk) -> None:
        if chunk.text:
            self._text.append(chunk.text)
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
        for delta in chunk.tool_calls:
            self._add_tool(delta)
        if chunk.finish_reason:
            self._finish_reason = chunk.finish_reason
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.cost_usd is not None:
            self._cost_usd = chunk.cost_usd
        if chunk.model:
            self._model = chunk.model
        if chunk.request_bytes:
            self._request_bytes = chunk.request_bytes

    def _add_tool(self, delta: ToolCallDelta) -> None:
        parts = self._tools.setdefault(delta.index, ["", ""])
        parts[0] = parts[0] or delta.id or ""
        parts[1] = parts[1] or delta.name or ""
        parts.append(delta.arguments)

    def _numbered(self, chunk: StreamChunk) -> StreamChunk:
        index = self.index
        self.index += 1
        return chunk if chunk.index == index else replace(chunk, index=index)
