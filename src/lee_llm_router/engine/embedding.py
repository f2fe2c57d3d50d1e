"""Embeddings as an `Operation`: chain, retries, health and traces are the same as for chat completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from lee_llm_router._util.numbers import amount, count
from lee_llm_router.engine.operation import Operation
from lee_llm_router.engine.plan import CallPlan, Target
from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.embeddings import (
    EmbeddingInputs,
    EmbeddingRequest,
    EmbeddingResponse,
    checked_inputs,
    checked_vectors,
)
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage
from lee_llm_router.telemetry.reporter import Reporter

if TYPE_CHECKING:
    from lee_llm_router.providers.cache.forms import AnswerForm


class Embedding(Operation):
    """Embeddings: texts in, one vector for each out."""

    name = "embedding"
    judged: ClassVar[bool] = False
    has_output: ClassVar[bool] = False
    options: ClassVar[frozenset[str] | None] = frozenset(
        {"model", "extra_body", "extra_query", "headers", "timeout", "deadline", "metadata", "no_cache"}
    )

    def checked(self, payload: tuple[Any, Any]) -> EmbeddingInputs:
        """Call `checked_inputs` with the texts and the dimensions."""
        return checked_inputs(*payload)

    def request_for(self, plan: CallPlan, target: Target, reporter: Reporter) -> EmbeddingRequest:  # noqa: ARG002
        """Return the request for `target`, without the role's options that only apply to chat completions."""
        asked, inputs = target.request_template, plan.payload
        return EmbeddingRequest(
            inputs=inputs.texts, dimensions=inputs.dimensions, model=asked.model, extra_body=asked.extra_body,
            extra_query=asked.extra_query, headers=asked.headers, role=plan.role_settings.role,
            request_id=plan.request_id, metadata=plan.metadata,
        )  # fmt: skip

    def refusal(self, provider: Provider[Any], request: Any) -> str | None:  # noqa: ARG002
        """Return why not: the provider offers no embeddings."""
        return None if provider.capabilities.embeddings else "the provider has no embeddings"

    def ask(self, provider: Provider[Any], request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """See `Provider.embed`."""
        return provider.embed(request, timeout)

    async def ask_async(self, provider: Provider[Any], request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """See `Provider.embed_async`."""
        return await provider.embed_async(request, timeout)

    def accepted(self, plan: CallPlan, target: Target, request: EmbeddingRequest, answer: Any) -> EmbeddingResponse:
        """Return the answer, if it has a valid vector for each text, with the names of its provider and call."""
        if not isinstance(answer, EmbeddingResponse):
            what = f"the provider returned {type(answer).__name__}, not an EmbeddingResponse"
            raise InvalidResponseError(what, final=True)
        vectors = checked_vectors(answer.vectors, len(request.inputs))
        usage = answer.usage if isinstance(answer.usage, LLMUsage) else UNREPORTED
        return replace(
            answer, vectors=vectors, usage=usage, cost_usd=amount(answer.cost_usd), provider=target.provider,
            request_bytes=count(answer.request_bytes), request_id=plan.request_id,
        )  # fmt: skip

    def facts(self, answer: EmbeddingResponse) -> LLMResponse:
        """Return the facts for a record: an embedding has no text."""
        return LLMResponse(
            text="", model=answer.model, usage=answer.usage, cost_usd=answer.cost_usd, headers=answer.headers,
            request_bytes=answer.request_bytes,
        )  # fmt: skip

    def with_cost(self, answer: EmbeddingResponse, cost_usd: float) -> EmbeddingResponse:
        """Return the answer with its cost."""
        return replace(answer, cost_usd=cost_usd)

    def answer_form(self) -> AnswerForm:
        """See `Operation.answer_form`."""
        from lee_llm_router.providers.cache.forms import EMBEDDING_FORM  # noqa: PLC0415 - only if there is a cache

        return EMBEDDING_FORM

    def request_of_kept(self, plan: CallPlan, target: Target) -> EmbeddingRequest:  # noqa: ARG002
        """Return a request that gives the number of vectors expected."""
        return EmbeddingRequest(inputs=plan.payload.texts)

    def messages(self, request: EmbeddingRequest) -> Sequence[Mapping[str, Any]]:
        """Return the texts, each as the content of a user message."""
        return [{"role": "user", "content": text} for text in request.inputs]


EMBEDDING = Embedding()
