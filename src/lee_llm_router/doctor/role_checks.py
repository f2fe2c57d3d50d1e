"""Checks of the roles: their chains, their timeouts, and whether a chain can outlive what it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lee_llm_router._util.hosts import host_of, is_this_machine, site_of
from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.config.models import ChainEntry, LLMConfig, RoleConfig
from lee_llm_router.config.unsupported import missing_in_entry
from lee_llm_router.doctor.key_checks import vendor_of
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.engine import json_contract
from lee_llm_router.engine.settings import DEFAULT_TIMEOUT
from lee_llm_router.errors import ConfigError, LLMRouterError
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.settings.model import KeyPath
from lee_llm_router.telemetry.records import target_name


def check_roles(
    partial: PartialConfig, router: LeeLLMRouter, role: str | None
) -> Iterator[tuple[CheckResult, set[str]]]:
    """Yield the results for each role, each with the names of the providers in its chain."""
    config = router.config
    if role is not None and role not in config.roles:
        if ("roles", role) in partial.touched:
            return
        known, near = ", ".join(sorted(config.roles)), Suggester().did_you_mean(role, config.roles)
        yield found("LLR601", role, f"no such role in the configuration{near}; there are: {known}"), set()
        return
    for name in config.roles if role is None else [role]:
        at = partial.place(("roles", name))
        try:
            chain = router.resolve(name)
            for target in chain:
                json_contract.check_schema(target.fields.get("schema"))
        except LLMRouterError as error:
            yield found("LLR602", name, error.message, at=at), {config.roles[name].provider}
        else:
            names = {target.provider for target in chain}
            if ("roles", name) not in partial.touched:
                targets = ", then ".join(target_name(target.provider, target.model) for target in chain)
                default = " (default role)" if name == config.default_role else ""
                yield found("LLR600", name, targets + default, at=at), names
                for result in _RoleChecks(partial, config, name).results():
                    yield result, names


class _RoleChecks:
    """Checks one role as written in the file; a policy may choose otherwise."""

    def __init__(self, partial: PartialConfig, config: LLMConfig, name: str) -> None:
        self._partial = partial
        self._config = config
        self._name = name
        self._role: RoleConfig = config.roles[name]
        self._chain: Sequence[ChainEntry] = config.chain(name)

    def results(self) -> Iterator[CheckResult]:
        """Yield all findings."""
        yield from self._times()
        yield from self._numbers()
        yield from self._owners()
        yield from self._capabilities()
        yield from self._cache()

    def _at(self, *path: str | int) -> Place | None:
        return self._partial.place(("roles", self._name, *path))

    def _times(self) -> Iterator[CheckResult]:
        role, deadline = self._role, self._role.deadline
        timeouts = self._timeouts()
        longest = max(timeouts)
        is_own = "deadline" in role.model_fields_set or any(e.settings.timeout is not None for e in self._chain)
        if deadline <= longest and is_own:
            asked = "timeout" if longest != DEFAULT_TIMEOUT else "timeout, by default,"
            text = f"the deadline of {deadline:g} s is no longer than the {asked} of one attempt: {longest:g} s"
            yield found("LLR604", self._name, text, at=self._at("deadline"))
        else:
            yield from self._last_attempt(timeouts)
        for field, seconds in (
            ("first_token_timeout", role.stream.first_token_timeout),
            ("idle_timeout", role.stream.idle_timeout if "idle_timeout" in role.stream.model_fields_set else None),
        ):
            if seconds is not None and seconds > deadline:
                text = f"stream.{field} of {seconds:g} s is longer than the deadline of {deadline:g} s"
                yield found("LLR606", self._name, text, at=self._at("stream", field))

    def _timeouts(self) -> list[float]:
        """Return the seconds that an attempt at each target may take."""
        return [entry.settings.timeout or DEFAULT_TIMEOUT for entry in self._chain]

    def _last_attempt(self, timeouts: Sequence[float]) -> Iterator[CheckResult]:
        """Report whether the last attempt could never begin if all earlier ones were to hang."""
        role, deadline = self._role, self._role.deadline
        if len(timeouts) > 1:
            before, what = sum(timeouts[:-1]), f"the last of {len(timeouts)} targets"
        elif "attempts" in role.retry.model_fields_set and role.retry.attempts > 1:
            tries = min(role.retry.attempts, role.retry.max_attempts)
            before, what = timeouts[0] * (tries - 1), f"attempt {tries}"
        else:
            return
        if before >= deadline:
            text = f"if those before it hang for {before:g} s, {what} is never asked: the deadline is {deadline:g} s"
            yield found("LLR605", self._name, text, at=self._at("deadline"))

    def _numbers(self) -> Iterator[CheckResult]:
        most = self._role.retry.max_attempts
        if len(self._chain) > most:
            text = f"the chain has {len(self._chain)} targets, but a call makes at most {most} attempts"
            yield found("LLR611", self._name, text, at=self._at("retry", "max_attempts"))
        for index, entry in enumerate(self._chain):
            tpm, asked = _tpm_of(self._config.providers[entry.provider], entry.model), entry.settings.max_tokens
            if tpm is not None and asked is not None and asked > tpm:
                name = target_name(entry.provider, entry.model)
                text = f"max_tokens of {asked:,} is more than the tpm of {name}, {tpm:,}"
                yield found("LLR614", self._name, text, at=self._partial.place(path_of_entry(index, self._name)))
        hedge = self._role.hedge
        if hedge is not None and hedge.max:
            if most == 1:
                text = "a call makes only one attempt, so hedge cannot begin another"
                yield found("LLR613", self._name, text, at=self._at("hedge"))
            elif len(self._chain) == 1 and not hedge.same_target:
                text = "hedge has no target to ask other than the slow one"
                yield found("LLR613", self._name, text, at=self._at("hedge"))
            elif isinstance(hedge.after, float) and hedge.after >= (longest := max(self._timeouts())):
                text = f"hedge asks another target after {hedge.after:g} s, and an attempt ends after {longest:g} s"
                yield found("LLR613", self._name, text, at=self._at("hedge", "after"))

    def _owners(self) -> Iterator[CheckResult]:
        settings = [self._config.providers[entry.provider] for entry in self._chain]
        owners = [owner_of(one) for one in settings]
        if len(owners) == 1 and owners[0] is not None:
            yield found("LLR610", self._name, f"its only target is at {owners[0]}", at=self._at())
        elif len(owners) > 1 and owners[0] is not None and set(owners) == {owners[0]}:
            yield found("LLR607", self._name, f"all targets are at {owners[0]}", at=self._at("fallback_providers"))
        mocks = [one.type == "mock" for one in settings]
        if mocks[0] and not all(mocks):
            text = f"{self._chain[0].provider} is a mock in front of targets that are not"
            yield found("LLR612", self._name, text, at=self._at("provider"))

    def _capabilities(self) -> Iterator[CheckResult]:
        lacks = lacking_options(self._config, self._name)
        if all(lacks):
            options = ", ".join(sorted({option for lack in lacks for option in lack}))
            yield found("LLR608", self._name, f"no target of the chain supports {options}", at=self._at())
        skipped: dict[str, list[str]] = {}
        for what, field in (("tools", "tools"), ("pictures or files", "content_parts")):
            able = [self._can(entry, field) for entry in self._chain]
            if True in able:
                for entry, can in zip(self._chain, able, strict=True):
                    if can is False and what not in skipped.setdefault(entry.provider, []):
                        skipped[entry.provider].append(what)
        if skipped:
            texts = [f"calls with {' or '.join(what)} skip {provider}" for provider, what in skipped.items()]
            yield found("LLR609", self._name, "; ".join(texts), at=self._at("fallback_providers"))

    def _cache(self) -> Iterator[CheckResult]:
        cache = self._config.cache_of(self._name)
        temperatures = [entry.settings.temperature for entry in self._chain]
        if cache is not None and not cache.any_temperature and all(temperatures):
            text = f"the cache keeps no answer: the temperature is {temperatures[0]:g}"
            yield found("LLR615", self._name, text, at=self._at("temperature"))

    def _can(self, entry: ChainEntry, field: str) -> bool | None:
        """Return whether the provider of `entry` can do `field`; None if its class does not say."""
        try:
            kind: type[Provider[ProviderConfig]] = PROVIDERS.get(self._config.providers[entry.provider].type)
        except ConfigError:
            return None
        can = getattr(getattr(kind, "capabilities", None), field, None)
        return can if isinstance(can, bool) else None


def lacking_options(config: LLMConfig, role: str) -> list[dict[str, str]]:
    """Return for each target of the chain the options of the role that it cannot express."""
    return [missing_in_entry(config.providers[entry.provider], entry) for entry in config.chain(role)]


def owner_of(settings: ProviderConfig) -> str | None:
    """Return the domain that a provider depends on; None for this machine, or if unknown."""
    vendor = vendor_of(settings)
    if vendor is not None:
        return site_of(host_of(vendor.base_url))
    host = host_of(str(getattr(settings, "base_url", "") or ""))
    return site_of(host) if host and not is_this_machine(host) else None


def _tpm_of(settings: ProviderConfig, model: str | None) -> int | None:
    """Return the tokens per minute of a target: the smaller limit of its provider and its model; None: no limit."""
    of_model = None if model is None else settings.model_limits.get(model)
    limits = (settings.tpm, None if of_model is None else of_model.tpm)
    return min((tpm for tpm in limits if tpm is not None), default=None)


def path_of_entry(index: int, role: str) -> KeyPath:
    """Return the place of target `index` of a role's chain in the file."""
    return ("roles", role, "fallback_providers", index - 1) if index else ("roles", role)
