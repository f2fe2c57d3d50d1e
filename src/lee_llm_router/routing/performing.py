"""The calls of a router that are no chat completions: embeddings, and operations of the application's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from lee_llm_router._util.clock import Clock
from lee_llm_router.engine.drivers import drive, drive_async, need_asyncio
from lee_llm_router.engine.operation import COMPLETION, Operation
from lee_llm_router.engine.steps import CallSteps
from lee_llm_router.routing.options import CallOptions, EmbeddingOptions

if TYPE_CHECKING:
    from lee_llm_router.providers.embeddings import EmbeddingResponse


class OperationCalls(ABC):
    """What a router offers beside chat completion. It plans each call in `_steps`."""

    _clock: Clock

    @abstractmethod
    def _steps(
        self,
        role: str | None,
        payload: Any,
        overrides: Mapping[str, Any],
        *,
        operation: Operation = COMPLETION,
        stream: bool = False,
    ) -> CallSteps: ...

    def embed(
        self,
        role: str | None,
        inputs: str | Iterable[str],
        *,
        dimensions: int | None = None,
        **overrides: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """Ask `role` for embeddings, one vector for each text.

        Chain, retries, health and traces are those of `complete`. The texts go out in batches of the size that the
        provider takes; a retry goes on after the last batch that was answered, a fallback begins anew, so that all
        vectors are of one model.

        Args:
            role: As for `complete`. The targets of its chain should have one model: vectors of different models cannot
                be compared.
            inputs: The texts; none may be empty. A plain string is one text.
            dimensions: Length of the vectors, for models that can shorten them.
            **overrides: What to ask for differently this time; see `EmbeddingOptions`.

        Raises:
            LLMRouterError: as `complete`.
        """
        overrides_of_call: Mapping[str, Any] = overrides
        steps = self._embedding_steps(role, inputs, dimensions, overrides_of_call)
        response: EmbeddingResponse = drive(steps, self._clock)
        return response

    async def embed_async(
        self,
        role: str | None,
        inputs: str | Iterable[str],
        *,
        dimensions: int | None = None,
        **overrides: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """As `embed`, for asyncio."""
        need_asyncio()
        overrides_of_call: Mapping[str, Any] = overrides
        steps = self._embedding_steps(role, inputs, dimensions, overrides_of_call)
        response: EmbeddingResponse = await drive_async(steps, self._clock)
        return response

    def perform(self, operation: Operation, role: str | None, payload: Any, **overrides: Unpack[CallOptions]) -> Any:
        """Ask `role` by another operation than chat completion; chain, retries, health and traces are the same.

        Args:
            operation: How to ask a provider, and how to check its answer.
            role: As for `complete`.
            payload: What is asked, in the form that `operation` takes.
            **overrides: As for `complete`.

        Returns:
            What the operation accepted.

        Raises:
            LLMRouterError: as `complete`.
        """
        return drive(self._steps(role, payload, overrides, operation=operation), self._clock)

    async def perform_async(
        self, operation: Operation, role: str | None, payload: Any, **overrides: Unpack[CallOptions]
    ) -> Any:
        """As `perform`, for asyncio."""
        need_asyncio()
        return await drive_async(self._steps(role, payload, overrides, operation=operation), self._clock)

    def _embedding_steps(
        self, role: str | None, inputs: Any, dimensions: int | None, overrides: Mapping[str, Any]
    ) -> CallSteps:
        from lee_llm_router.engine.embedding import EMBEDDING  # noqa: PLC0415 - most programs embed nothing

        return self._steps(role, (inputs, dimensions), overrides, operation=EMBEDDING)
