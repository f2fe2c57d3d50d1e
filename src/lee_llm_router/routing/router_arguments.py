"""The arguments of the ways to build a router, for type checkers."""

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypedDict

from lee_llm_router._util.clock import Clock
from lee_llm_router.compression import Compressor
from lee_llm_router.engine.settings import AcceptConfig, ContractConfig, HedgeConfig, RetryConfig, StreamConfig
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.cassette.settings import CassetteConfig
from lee_llm_router.routing.options import SharedOptions
from lee_llm_router.telemetry.following import AnyEventSink
from lee_llm_router.telemetry.pricing.contract import BudgetLedger, PriceBook
from lee_llm_router.telemetry.records import TraceStore
from lee_llm_router.telemetry.reporter import TokenUsageHook

if TYPE_CHECKING:
    from lee_llm_router.providers.cache.settings import CacheConfig
    from lee_llm_router.telemetry.pricing.budget_settings import BudgetConfig


class RouterArguments(TypedDict, total=False):
    """Keyword arguments of `LeeLLMRouter`, which documents them."""

    policy: RoutingPolicy | str | None
    trace_store: TraceStore | Literal[False] | None
    event_sink: AnyEventSink | Iterable[AnyEventSink]
    on_token_usage: TokenUsageHook | None
    compression: Compressor | Mapping[str, Compressor] | None
    trace_dir: str | PathLike[str] | None
    workspace: str | PathLike[str] | None
    wrap_provider: Callable[[Provider[Any]], Provider[Any]] | None
    cassette: CassetteConfig | Mapping[str, Any] | str | PathLike[str] | Literal[False] | None
    redact: Callable[[str], str] | None
    prices: PriceBook | None
    budget_ledger: BudgetLedger | None
    clock: Clock
    random: Callable[[], float]


class TargetOptions(RouterArguments, SharedOptions, total=False):
    """Keyword arguments of `LeeLLMRouter.of`: those of the class, and the settings of its one role."""

    schema: Any
    """What the answer must fit, as in `CallOptions`."""
    retry: RetryConfig | Mapping[str, Any]
    hedge: HedgeConfig | Mapping[str, Any] | str | float
    stream: StreamConfig | Mapping[str, Any]
    contract: ContractConfig | Mapping[str, Any]
    accept: AcceptConfig | Mapping[str, Any]
    fallback_on: Iterable[Literal["INVALID_REQUEST", "CONTENT_FILTER"]]
    retry_effects: bool
    budget: "BudgetConfig | Mapping[str, Any]"
    cache: "CacheConfig | Mapping[str, Any] | Literal[False]"
