"""The calls of a router other than chat completions: embeddings, and the application's own operations."""

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
    """The operations of a router besides chat completion. It plans each call in `_steps`."""

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

        Chain, retries, health and traces work as in `complete`. The texts are sent in batches of the size that the
        provider takes. A retry continues after the last batch that was answered; a fallback starts over, so that all
        vectors come from one model.

        Args:
            role: As for `complete`. The targets of its chain should have one model: vectors of different models cannot
                be compared.
            inputs: The texts; none may be empty. A plain string is one text.
            dimensions: Length of the vectors, for models that can shorten them.
            **overrides: Options that differ for this call; see `EmbeddingOptions`.

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
        """Same as `embed`, for asyncio."""
        need_asyncio()
        overrides_of_call: Mapping[str, Any] = overrides
        steps = self._embedding_steps(role, inputs, dimensions, overrides_of_call)
        response: EmbeddingResponse = await drive_async(steps, self._clock)
        return response

    def perform(self, operation: Operation, role: str | None, payload: Any, **overrides: Unpack[CallOptions]) -> Any:
        """Call `role` with an operation other than chat completion; chain, retries, health and traces work the same.

        Args:
            operation: How to call a provider, and how to check its answer.
            role: As for `complete`.
            payload: The request, in the form that `operation` takes.
            **overrides: As for `complete`.

        Returns:
            The answer that the operation accepted.

        Raises:
            LLMRouterError: as `complete`.
        """
        return drive(self._steps(role, payload, overrides, operation=operation), self._clock)

    async def perform_async(
        self, operation: Operation, role: str | None, payload: Any, **overrides: Unpack[CallOptions]
    ) -> Any:
        """Same as `perform`, for asyncio."""
        need_asyncio()
        return await drive_async(self._steps(role, payload, overrides, operation=operation), self._clock)

    def _embedding_steps(
        self, role: str | None, inputs: Any, dimensions: int | None, overrides: Mapping[str, Any]
    ) -> CallSteps:
        from lee_llm_router.engine.embedding import EMBEDDING  # noqa: PLC0415 - most programs embed nothing

        return self._steps(role, (inputs, dimensions), overrides, operation=EMBEDDING)
