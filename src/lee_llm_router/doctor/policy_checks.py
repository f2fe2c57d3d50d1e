"""Checks of the policies that spread calls: whether the names in them exist, and whether their criteria are known."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.budget_checks import is_priced, pricer_of
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.results import CheckResult, found
from lee_llm_router.policy.lowest_cost import CostSettings
from lee_llm_router.policy.spreading import SpreadSettings
from lee_llm_router.settings.model import KeyPath
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import target_name


def check_policies(partial: PartialConfig, config: LLMConfig, roles: Collection[str]) -> Iterator[CheckResult]:
    """Yield findings about the policies of `roles`, and about the file's policy if these are all roles."""
    shared = [name for name, role in config.roles.items() if role.policy is None]
    if len(roles) == len(config.roles):
        yield from _unknown_targets(partial, config, config.policy, shared, ("policy",))
    for name in roles:
        own = config.roles[name].policy
        path: KeyPath = ("policy",) if own is None else ("roles", name, "policy")
        if own is not None:
            yield from _unknown_targets(partial, config, own, [name], path)
        if isinstance(own or config.policy, CostSettings):
            yield from _unknown_prices(partial, config, name, path)


def _unknown_targets(
    partial: PartialConfig, config: LLMConfig, policy: PluginSettings, roles: Collection[str], path: KeyPath
) -> Iterator[CheckResult]:
    """Yield a result for each name in the settings of `policy` that is not a target of `roles`."""
    if not isinstance(policy, SpreadSettings):
        return
    chains = [entry for role in roles for entry in config.chain(role)]
    known = {entry.provider for entry in chains} | {target_name(entry.provider, entry.model) for entry in chains}
    whose = f"the role {next(iter(roles))}" if len(roles) == 1 else "any role with this policy"
    for name in policy.named_targets():
        if name not in known:
            hint = Suggester().did_you_mean(name, sorted(known))
            yield found("LLR452", policy.type, f"{name!r} is no target of {whose}{hint}", at=partial.place(path))


def _unknown_prices(partial: PartialConfig, config: LLMConfig, role: str, path: KeyPath) -> Iterator[CheckResult]:
    pricer = pricer_of(config)
    unpriced = [
        target_name(entry.provider, entry.model)
        for entry in config.chain(role)
        if not is_priced(
            pricer, entry.provider, getattr(config.providers[entry.provider], "base_url", None), entry.model
        )
    ]
    if unpriced:
        text = f"no price is known for {', '.join(unpriced)}: asked last"
        yield found("LLR453", role, text, at=partial.place(path))
