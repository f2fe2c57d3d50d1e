"""Checks of the models of the roles' targets against the price table, offline; reports only certain faults."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.key_checks import vendor_of
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.price_table import ModelFacts, facts_of
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.doctor.role_checks import path_of_entry
from lee_llm_router.telemetry.records import target_name


def check_models(partial: PartialConfig, config: LLMConfig, roles: Collection[str]) -> Iterator[CheckResult]:
    """Yield findings about the models of `roles`; once per target, unless its settings differ."""
    told: set[tuple[str, str | None, str]] = set()
    for role in roles:
        if ("roles", role) in partial.touched:
            continue
        for index, entry in enumerate(config.chain(role)):
            if ("providers", entry.provider) in partial.touched:
                continue
            for result in _TargetChecks(partial, config, role, index).results():
                key = (entry.provider, entry.model, result.id)
                if key not in told:
                    told.add(key)
                    yield result


class _TargetChecks:
    """Checks the model of one target of a role's chain."""

    def __init__(self, partial: PartialConfig, config: LLMConfig, role: str, index: int) -> None:
        self._partial = partial
        self._config = config
        self._role = role
        self._index = index
        self._entry = config.chain(role)[index]
        self._name = target_name(self._entry.provider, self._entry.model)

    def results(self) -> Iterator[CheckResult]:
        """Yield its findings."""
        settings = self._config.providers[self._entry.provider]
        base_url = getattr(settings, "base_url", None)
        if not isinstance(base_url, str):
            return
        if not self._entry.model:
            vendor = vendor_of(settings)
            if vendor is not None and not vendor.model_optional and "/deployments/" not in base_url:
                yield found("LLR706", self._name, f"no model is named, but {vendor.name} needs one", at=self._place())
            return
        facts = facts_of(self._entry.model, base_url)
        if facts is not None:
            yield from self._of_facts(facts)

    def _of_facts(self, facts: ModelFacts) -> Iterator[CheckResult]:
        name, at = self._name, self._place()
        if not facts.gives_text:
            yield found("LLR703", name, "this model gives no text: it is not for conversations", at=at)
        elif facts.elsewhere is not None:
            text = f"the price table knows this model at {facts.elsewhere}, but not at {facts.vendor}"
            yield found("LLR703", name, text, at=at)
        elif facts.near is not None:
            text = f"the price table knows no such model of {facts.vendor} (did you mean {facts.near!r}?)"
            yield found("LLR701", name, text, at=at)
        if facts.is_deprecated:
            yield found("LLR702", name, f"{facts.vendor} has announced the end of this model", at=at)
        most, window = self._entry.settings.max_tokens, facts.context_window
        if most is not None and window is not None and most > window:
            text = f"max_tokens is {most:,}, but the model's whole window is {window:,} tokens"
            path = (*path_of_entry(self._index, self._role), "max_tokens")
            yield found("LLR704", name, text, at=self._partial.place(path))

    def _place(self) -> Place | None:
        """Return where the model is set: at the target, its provider, or the role."""
        role = self._config.roles[self._role]
        own = role.fallback_providers[self._index - 1] if self._index else role
        if own.model:
            return self._partial.place((*path_of_entry(self._index, self._role), "model"))
        if self._config.providers[self._entry.provider].model:
            return self._partial.place(("providers", self._entry.provider, "model"))
        return self._partial.place(("roles", self._role, "model"))
