"""Checks of a configuration on this machine, which contact nothing except the shared state (`state`).

Each section has its own module; each check returns results, and prints nothing. Facts that only a provider knows (its
key, its program and version) come from the provider (`Provider.check`). A configuration with mistakes is checked as far
as it can be read (`partial_config`), so that one run shows every fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.config.reading import TEXT_NAME, name_of_source
from lee_llm_router.doctor.budget_checks import check_budgets
from lee_llm_router.doctor.catalogue import Level
from lee_llm_router.doctor.environment_checks import check_environment
from lee_llm_router.doctor.file_checks import check_file
from lee_llm_router.doctor.key_checks import check_keys
from lee_llm_router.doctor.model_checks import check_models
from lee_llm_router.doctor.network_checks import check_network
from lee_llm_router.doctor.partial_config import PartialConfig, read_partly
from lee_llm_router.doctor.policy_checks import check_policies
from lee_llm_router.doctor.provider_checks import check_providers
from lee_llm_router.doctor.results import CheckResult, found
from lee_llm_router.doctor.role_checks import check_roles
from lee_llm_router.doctor.state_checks import check_state
from lee_llm_router.doctor.trace_checks import check_traces
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.policy.loading import load_policy
from lee_llm_router.providers.cassette.tape import Tape
from lee_llm_router.router import LeeLLMRouter

__all__ = ["CheckResult", "Level", "diagnose"]


def diagnose(
    source: LLMConfig | str | os.PathLike[str] | Mapping[str, Any], role: str | None = None
) -> list[CheckResult]:
    """Check everything that a call needs except the servers.

    Args:
        source: A configuration, or anything `load_config` accepts.
        role: Check only this role and the providers of its chain. Default: all.

    Returns:
        The results: the file first, then variables, providers and keys, the network's settings, traces and roles.

    Raises:
        OSError: there is no such file, or it cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)) and name_of_source(source) != TEXT_NAME:
        _must_open(source)
    partial = read_partly(source)
    results = list(_all_checks(partial, role))
    if partial.is_whole:
        return results
    # What is fine in a part of a file says nothing about the whole.
    return [result for result in results if result.level != "ok"]


def _all_checks(partial: PartialConfig, role: str | None) -> Iterator[CheckResult]:
    yield from check_file(partial)
    yield from check_environment(partial)
    if partial.config is None:
        return
    config = partial.config
    yield from _cassette(partial, config)
    try:
        # Without its cassette, which a router might start over: a check changes nothing.
        router = LeeLLMRouter(config, trace_store=False, cassette=False)
    except LLMRouterError as error:
        yield _not_built(partial, config, error)
        return
    with router:
        roles = list(check_roles(partial, router, role))
        budgets = router.budgets()
    used = None if role is None else {name for _, names in roles for name in names}
    yield from check_providers(partial, config, used)
    if used is None or used:
        yield from (one for one in check_keys(partial, config) if used is None or one.subject in used)
    yield from check_network()
    yield from check_state(partial, config)
    yield from check_traces(partial, config)
    asked = [name for name in config.roles if role in (None, name)]
    yield from check_policies(partial, config, asked)
    yield from (result for result, _ in roles)
    yield from check_budgets(partial, config, budgets)
    yield from check_models(partial, config, asked)


def _cassette(partial: PartialConfig, config: LLMConfig) -> Iterator[CheckResult]:
    """Yield problems that would keep a router from playing its cassette, which is only read."""
    cassette = config.cassette
    if cassette is None or cassette.mode == "record":
        return
    try:
        if cassette.mode == "replay" or cassette.file.exists():
            Tape(cassette.file, "replay")
    except (LLMRouterError, OSError) as error:
        text = error.message if isinstance(error, LLMRouterError) else f"the cassette: {error.strerror}"
        yield found("LLR451", "cassette", text, at=partial.place(("cassette",)))


def _not_built(partial: PartialConfig, config: LLMConfig, error: LLMRouterError) -> CheckResult:
    """Return the findings if no router could be built; they are about the policy if that is at fault."""
    try:
        load_policy(config.policy)
    except LLMRouterError:
        return found("LLR451", config.policy.type, error.message, at=partial.place(("policy",)))
    return found("LLR451", "router", error.message)


def _must_open(path: str | os.PathLike[str]) -> None:
    # Without blocking: opening a FIFO would wait for a writer. A ValueError (not a path) is left to `load_config`.
    with suppress(ValueError), open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)):
        pass
