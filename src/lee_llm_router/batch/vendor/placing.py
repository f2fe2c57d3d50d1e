"""Finds the batch for a row, and writes its request as the provider itself would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from math import inf
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.live_engine import RowOptions
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.batch.vendor.anthropic_batches import AnthropicBatches
from lee_llm_router.batch.vendor.api import BatchApi
from lee_llm_router.batch.vendor.door import Door
from lee_llm_router.batch.vendor.gemini_batches import GeminiBatches
from lee_llm_router.batch.vendor.openai_files import OpenAIFiles
from lee_llm_router.batch.vendor.planning import drafted, parts_of
from lee_llm_router.engine.operation import COMPLETION
from lee_llm_router.engine.plan import CallPlan, Target
from lee_llm_router.errors import ConfigError, LLMRouterError
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.cassette.provider import CassetteProvider
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.providers.wrapper import WrapperProvider
from lee_llm_router.response.types import LLMRequest

_APIS: Mapping[str, Callable[[], BatchApi]] = {
    "openai": OpenAIFiles,
    "anthropic": AnthropicBatches,
    "gemini": GeminiBatches,
}
"""By the value of `HTTPProvider.batch_api`."""


@dataclass(slots=True)
class Lane:
    """What the rows of one batch share: a provider with one key, a model and a path."""

    target: Target
    """The provider, the model, and the variable of the key."""
    path: str
    """See `Submission.path`."""
    door: Door = field(repr=False)
    api: BatchApi = field(repr=False)
    most_bytes: float = inf
    """Bytes of the largest batch that the vendor has not refused yet."""


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """A row, the lane it belongs to, and its request."""

    lane: Lane
    body: Mapping[str, Any]


class Placing:
    """Places the rows of one batch.

    Args:
        job: The batch.
        provider: The only provider that may be used; None: any.

    Raises:
        ConfigError: there is no such provider, or it has no batch API; or answers are played from a cassette.
    """

    def __init__(self, job: BatchJob, provider: str | None) -> None:
        self._job = job
        self._wanted = provider
        self._options = RowOptions(job)
        self._lanes: dict[tuple[str, str | None, str], Lane] = {}
        self._keys: dict[str, str | None] = {}
        """The key variable that this run uses for each provider with several keys."""
        if provider is not None and provider not in job.router.config.providers:
            raise ConfigError(f"there is no provider {provider!r:.60}", sent=False)
        if not self._usual_names():
            who = (
                f"provider {provider!r:.60}"
                if provider
                else f"no target of the role {job.router.explain(job.settings.role).role!r:.60}"
            )
            raise ConfigError(
                f"{who} has {'no' if provider else 'a'} batch API (OpenAI's, Anthropic's or Gemini's)", sent=False
            )

    def _usual_names(self) -> list[str]:
        """Return the providers of the role that have a batch API."""
        targets = self.draft(None).targets
        return [target.provider for target in targets if self._lane_of(target, "") is not None]

    def draft(self, row: BatchRow | None) -> CallPlan:
        """Return the plan of a row's call; None: of any row.

        Raises:
            LLMRouterError: the call could not be made.
        """
        job = self._job
        if row is None:
            return drafted(job.router, job.settings.role, "?", job.settings.options)
        return drafted(job.router, job.settings.role, row.messages, self._options.of(row))

    def placed(self, row: BatchRow) -> PlacedRow | None:
        """Return the place of a row; None if no batch takes it, so that it is to be sent live."""
        try:
            plan = self.draft(row)
            for target in plan.targets:
                if self._lane_of(target, "") is not None:
                    return self._written(plan, target)
        except LLMRouterError:
            pass  # sent live, it fails in the same way, with a trace
        return None

    def _written(self, plan: CallPlan, target: Target) -> PlacedRow | None:
        provider = self._provider(target.provider, self._key_of(target))
        if provider is None:
            return None
        request = self.request(plan, target, provider)
        if request is None or request.headers or request.extra_query:  # a batch cannot have these for each row
            return None
        path, body = provider.body_of(request)
        lane = self._lane_of(target, path)
        return None if lane is None else PlacedRow(lane, body)

    def request(self, plan: CallPlan, target: Target, provider: HTTPProvider[Any]) -> LLMRequest | None:
        """Return the request of a plan for a target; None if the provider cannot express it."""
        reporter = parts_of(self._job.router).reporter
        request, _ = COMPLETION.fitted(provider, COMPLETION.request_for(plan, target, reporter))
        return None if COMPLETION.refusal(provider, request) is not None else request

    def lane(self, provider: str, model: str | None, key_variable: str | None, path: str) -> Lane | None:
        """Return the lane of a batch from an earlier run; None if the configuration no longer has one."""
        self._keys.setdefault(provider, key_variable)
        target = Target(provider, model, {}, key_variable=key_variable)
        return self._lane(target, path) if provider in self._job.router.config.providers else None

    def _key_of(self, target: Target) -> str | None:
        """Return the key variable for a provider: in one run, the same for all batches."""
        return self._keys.setdefault(target.provider, target.key_variable)

    def _lane_of(self, target: Target, path: str) -> Lane | None:
        """Return the lane of a target; None if it has no batch API."""
        if target.provider_overrides or (self._wanted is not None and target.provider != self._wanted):
            return None
        key = self._key_of(target)
        return self._lane(target if key == target.key_variable or key is None else target.with_key(key), path)

    def _lane(self, target: Target, path: str) -> Lane | None:
        name = (target.provider, target.model, path)
        lane = self._lanes.get(name)
        if lane is None:
            provider = self._provider(target.provider, target.key_variable)
            api = None if provider is None else _APIS.get(provider.batch_api() or "")
            if provider is None or api is None:
                return None
            lane = self._lanes[name] = Lane(target, path, Door(provider, self._job), api())
        return lane

    def _provider(self, name: str, key_variable: str | None) -> HTTPProvider[Any] | None:
        """Return a provider without its wrappers; None if it does not use HTTP.

        Raises:
            ConfigError: its answers are played from a cassette.
        """
        provider: Provider[Any] = parts_of(self._job.router).pool.open(name, {}, key_variable)
        while isinstance(provider, WrapperProvider):
            if isinstance(provider, CassetteProvider):
                raise ConfigError(
                    "a cassette does not record batches: the engine vendor needs a router without", sent=False
                )
            provider = provider.inner
        return provider if isinstance(provider, HTTPProvider) else None
