"""Asks each target one small question with the role's own settings, and reports the outcome and the cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from math import ceil
from typing import Any

from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router._util.data_class import dataclass
from lee_llm_router.config.models import ChainEntry, LLMConfig, RoleConfig
from lee_llm_router.doctor.price_table import most_usd
from lee_llm_router.doctor.results import CheckResult, found
from lee_llm_router.engine.settings import ContractConfig, RetryConfig
from lee_llm_router.errors import ConfigError, LLMRouterError
from lee_llm_router.providers import registry
from lee_llm_router.response.types import LLMRequest
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import target_name

QUESTION = "This is a test of the connection. Answer with the word OK and nothing else."
_PROMPT_TOKENS = 300
"""More tokens than the question has, by any model's count."""
_ANSWER_TOKENS = 256
_THINKING_TOKENS = 4096
"""Tokens allowed for an answer, and for one with thinking."""
_ROLE = "asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCall:
    """One question to one target."""

    name: str
    """The target, in readable form."""
    config: LLMConfig = field(repr=False)
    """A configuration with only this target."""
    most_usd: float | None = None
    """Its highest possible cost in US dollars; None if no price is known."""

    def results(self) -> Sequence[CheckResult]:
        """Ask, and return the outcome."""
        begun = SYSTEM_CLOCK.monotonic()
        with LeeLLMRouter(self.config, trace_store=False) as router:
            try:
                answer = router.complete(_ROLE, [{"role": "user", "content": QUESTION}])
            except LLMRouterError as error:
                return [found("LLR930", self.name, f"{error.failure_type.value}: {error.message}")]
        took = SYSTEM_CLOCK.monotonic() - begun
        cost = getattr(answer, "cost_usd", None)
        parts = [f"answered in {took:.1f} s", f"{answer.usage.total_tokens or 0} tokens"]
        if isinstance(cost, float | int):
            parts.append(f"${cost:.6f}")
        if answer.finish_reason == "length":
            parts.append("cut at its limit, as is usual here")
        return [found("LLR931", self.name, ", ".join(parts))]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """The planned questions."""

    calls: list[TargetCall]
    refused: list[CheckResult]
    """Results for targets that are never asked, even with consent: they would do more than answer."""

    @property
    def most_usd(self) -> float:
        """The highest possible total cost of those with a known price."""
        return sum(call.most_usd or 0.0 for call in self.calls)

    @property
    def unknown(self) -> list[str]:
        """The targets without a known price."""
        return [call.name for call in self.calls if call.most_usd is None]


def planned_calls(config: LLMConfig, roles: Sequence[str], timeout: float) -> CallPlan:
    """Return a question for each target of `roles`; identical targets are asked once."""
    calls: list[TargetCall] = []
    refused: list[CheckResult] = []
    seen: list[ChainEntry] = []
    for role in roles:
        for entry in config.chain(role):
            if entry in seen:
                continue
            seen.append(entry)
            name = target_name(entry.provider, entry.model)
            if _acts(config, entry):
                refused.append(found("LLR932", name, "not asked: it may change files or more, not only answer"))
                continue
            most, limit = _limit(config, entry)
            alone = _alone(config, role, entry, timeout, most)
            calls.append(TargetCall(name=name, config=alone, most_usd=_price(config, entry, limit)))
    return CallPlan(calls=calls, refused=refused)


def _acts(config: LLMConfig, entry: ChainEntry) -> bool:
    settings = config.providers[entry.provider]
    try:
        provider = registry.get(settings.type)(entry.provider, settings)
    except LLMRouterError:
        return False
    try:
        return provider.effects != "none"
    finally:
        provider.close()


def _limit(config: LLMConfig, entry: ChainEntry) -> tuple[int | None, int | None]:
    """Return the token limit to ask with, and the effective one; None if there is none."""
    asked = entry.settings
    thinks = asked.reasoning_effort not in (None, "none", "minimal")
    usual = _THINKING_TOKENS if thinks else _ANSWER_TOKENS
    most = usual if asked.max_tokens is None or thinks else min(asked.max_tokens, usual)
    settings = config.providers[entry.provider]
    try:
        request = LLMRequest(messages=(), model=entry.model, max_tokens=most)
        lacking: Any = registry.get(settings.type).unsupported(request, settings)
    except (ConfigError, LLMRouterError):
        lacking = {"max_tokens": ""}
    except Exception:  # noqa: BLE001 - a provider of somebody else's
        lacking = {"max_tokens": ""}
    return (None, None) if "max_tokens" in lacking else (most, most)


def _price(config: LLMConfig, entry: ChainEntry, limit: int | None) -> float | None:
    if config.providers[entry.provider].type in ("mock", "llama_cpp"):
        return 0.0
    return None if limit is None else most_usd(config, entry, _PROMPT_TOKENS + _schema_tokens(entry), limit)


def _schema_tokens(entry: ChainEntry) -> int:
    return len(str(entry.settings.response_schema)) if entry.settings.response_schema is not None else 0


def _alone(config: LLMConfig, role: str, entry: ChainEntry, timeout: float, most: int | None) -> LLMConfig:
    """Return a configuration in which one role asks only this target, once, with its settings."""
    settings = {name: getattr(entry.settings, name) for name in entry.settings.model_fields_set}
    if most is not None:
        settings["max_tokens"] = most
    changes: dict[str, Any] = {
        **settings, "provider": entry.provider, "model": entry.model, "fallback_providers": (), "accept": None,
        "budget": None, "timeout": timeout, "deadline": timeout, "contract": ContractConfig(repair=0),
        "retry": RetryConfig(attempts=1, max_attempts=1, patience=0), "hedge": None,
    }  # fmt: skip
    asked: RoleConfig = config.roles[role].model_copy(update=changes)
    return config.model_copy(
        update={
            "roles": {_ROLE: asked}, "default_role": _ROLE, "policy": PluginSettings(type="simple"), "sinks": (),
            # Budgets are stored in the trace folder: this spending counts too.
            "trace": config.trace.model_copy(update={"enabled": False}),
        }
    )  # fmt: skip


def lines_of_plan(plan: CallPlan) -> Iterator[str]:
    """Yield what the user should know before the questions are asked."""
    number = len(plan.calls)
    known = number - len(plan.unknown)
    if known:
        # Rounded up, or "at most" would not be true.
        most = ceil(plan.most_usd * 10_000) / 10_000
        cost = f"of at most ${most:.4f} together" if most else "that cost nothing"
        yield f"{known} question{'s' * (known != 1)} {cost}"
    if plan.unknown:
        shown = ", ".join(plan.unknown[:10]) + (", ..." if len(plan.unknown) > 10 else "")
        yield f"{len(plan.unknown)} whose price is not known: {shown}"
