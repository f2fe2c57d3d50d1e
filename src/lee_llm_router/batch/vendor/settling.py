"""Turns the result of a row into an outcome: a call whose answer exists, checked, billed and traced like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lee_llm_router.batch.answers import RowOutcome, answer_of
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.live_engine import RowOptions
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.batch.vendor.api import BatchResult
from lee_llm_router.batch.vendor.ledger import SentBatch
from lee_llm_router.batch.vendor.planning import planned
from lee_llm_router.engine.attempts import call_steps
from lee_llm_router.engine.drivers import drive_async
from lee_llm_router.engine.operation import Completion
from lee_llm_router.engine.plan import CallPlan, RouterParts, Target
from lee_llm_router.engine.settings import ContractConfig, RetryConfig
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.health.tracker import Health
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.response.types import LLMRequest, LLMResponse
from lee_llm_router.telemetry.pricing.cards import BATCH_TIER

_ONCE = RetryConfig(attempts=1, max_attempts=1, patience=0.0)
_AS_IT_IS = ContractConfig(repair=0, on_failure="raise")
_NO_LIMITS: dict[str, Any] = {"rpm": None, "tpm": None, "max_concurrency": None, "model_limits": {}}


class _Delivery(Completion):
    """Chat completion whose answer came in the file of a batch."""

    def __init__(self, provider: HTTPProvider[Any], result: BatchResult) -> None:
        self._provider, self._result = provider, result

    async def ask_async(self, provider: Provider[Any], request: LLMRequest, timeout: float) -> LLMResponse:  # noqa: ARG002
        """Return the existing answer, with the tier at which a batch is billed."""
        answer = self._provider.answer_of(request, self._result.status, self._result.body)
        return replace(answer, details=replace(answer.details, service_tier=BATCH_TIER))


class Settling:
    """Makes the outcomes of the rows of one batch run.

    Args:
        job: The batch.
    """

    def __init__(self, job: BatchJob) -> None:
        self._job = job
        self._options = RowOptions(job)
        self._health: Health | None = None

    async def outcome(
        self, row: BatchRow, result: BatchResult, batch: SentBatch, provider: HTTPProvider[Any]
    ) -> RowOutcome | None:
        """Return the outcome of a row; None if it has failed, and is to be sent live.

        Args:
            row: The row.
            result: Its result.
            batch: The batch that it was in.
            provider: Reads the answer.
        """
        if not result.status:
            return None
        options = self._options.of(row)
        options["metadata"] = {**options["metadata"], "vendor_batch": batch.id or batch.token}
        try:
            plan, parts = planned(self._job.router, self._job.settings.role, row.messages, options)
            self._fit(plan, batch)
            plan.operation = _Delivery(provider, result)
            response = await drive_async(call_steps(plan, self._apart(parts)), self._job.clock)
        except LLMRouterError:
            self._health = None  # the results of a batch say nothing about a target's current health
            return None
        return answer_of(row, response)

    def _fit(self, plan: CallPlan, batch: SentBatch) -> None:
        """Reduce a plan to a single attempt, at the target to which the batch was sent."""
        known = [one for one in plan.targets if (one.provider, one.model) == (batch.provider, batch.model)]
        target = known[0] if known else Target(batch.provider, batch.model, plan.targets[0].fields)
        if batch.key_variable is not None:
            target = target.with_key(batch.key_variable)
        plan.targets = (target,)
        plan.role_settings = replace(plan.role_settings, retry=_ONCE, fallback_on=(), hedge=None, cache=None)
        plan.contract, plan.hedge, plan.caching, plan.is_paid = _AS_IT_IS, None, None, True

    def _apart(self, parts: RouterParts) -> RouterParts:
        """Return the parts of the router with separate health, in which nothing is limited or shut."""
        if self._health is None:
            free = {name: one.model_copy(update=_NO_LIMITS) for name, one in self._job.router.config.providers.items()}
            self._health = Health(HealthConfig(), free, parts.clock, parts.random)
        return replace(parts, health=self._health)
