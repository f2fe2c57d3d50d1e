"""Checks of the providers: what each reports about itself (`Provider.check`)."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lee_llm_router._util.check_note import id_of_note
from lee_llm_router._util.scrubbing import scrub
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.catalogue import catalogue
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers import registry
from lee_llm_router.providers.agents.base import AgentProvider
from lee_llm_router.providers.base import Provider

_BY_LEVEL = {"ok": "LLR500", "warning": "LLR503", "error": "LLR502"}
"""The ids of results from third-party providers."""


def check_providers(partial: PartialConfig, config: LLMConfig, only: Collection[str] | None) -> Iterator[CheckResult]:
    """Yield what the providers report; if names are given, for `only` these.

    A result about the machine that several report appears once, with the names of all.
    """
    results: dict[tuple[str, str], CheckResult] = {}
    for name in config.providers if only is None else [one for one in config.providers if one in only]:
        for result in _check_provider(config, name, partial.place(("providers", name))):
            is_shared = result.section == "network" and result.level != "ok"
            key = (result.id, result.message if is_shared else f"{name}\0{len(results)}")
            known = results.get(key)
            if known is None:
                results[key] = result
            else:
                subject = f"{known.subject}, {name}"
                at = Place(known.file, known.line or 0, known.column or 0) if known.file else None
                results[key] = found(known.id, subject, known.message, level=known.level, at=at)
    yield from results.values()


def _check_provider(config: LLMConfig, name: str, at: Place | None) -> list[CheckResult]:
    settings = config.providers[name]
    try:
        provider = registry.get(settings.type)(name, settings)
        try:
            # Settings that were filled from the environment may be secrets, and a check may name any of them.
            filled = settings.filled_values()
            results = [_result(note, name, filled, at) for note in provider.check()]
            results += _login(provider, name)
        finally:
            provider.close()
    except LLMRouterError as error:
        return [found("LLR502", name, error.message, at=at)]
    except Exception as error:  # noqa: BLE001 - a provider from a plug-in may raise anything
        text = scrub(f"checking it raised {type(error).__name__}: {error}", config.filled_values())
        return [found("LLR501", name, text, at=at)]
    return results or [found("LLR500", name, f"{settings.type}: nothing to check offline", at=at)]


def _login(provider: Provider[Any], name: str) -> Iterator[CheckResult]:
    """Report whether others may read the file with an agent's login."""
    place = provider.login_place() if isinstance(provider, AgentProvider) else None
    if place is None or not os.path.isabs(place):  # noqa: PTH117 - a variable's name is no path
        return
    try:
        mode = stat.S_IMODE(Path(place).stat().st_mode)
    except OSError:
        return
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        yield found("LLR516", name, f"other users may read its login, {place} (mode {mode:04o})", at=Place(place))


def _result(note: tuple[str, str], name: str, filled: Collection[str], at: Place | None) -> CheckResult:
    level, text = note
    if level not in _BY_LEVEL:
        level = "warning"
    check = id_of_note(note)
    check = check if check in catalogue() else _BY_LEVEL[level]
    return found(check, name, scrub(text, filled), level=level, at=at)  # type: ignore[arg-type]
