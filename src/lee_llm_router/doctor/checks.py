"""Checks of a configuration on this machine, made without sending anything.

Each check returns results; nothing is printed here. What only a provider knows (its key, its program and version) is
asked of the provider (`Provider.check`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.scrubbing import bounded, scrub
from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.config.load import load_with_warnings
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.config.reading import TEXT_NAME, name_of_source
from lee_llm_router.engine import json_contract
from lee_llm_router.errors import ConfigError, LLMRouterError
from lee_llm_router.providers import registry
from lee_llm_router.providers.keys import KeyedConfig, oddity_of_value
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.settings.origin import ConfigOrigin
from lee_llm_router.telemetry.records import target_name
from lee_llm_router.telemetry.stores.open import open_store

Level: TypeAlias = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check."""

    level: Level
    check: Literal["file", "policy", "provider", "traces", "role"]
    subject: str
    """What was checked: the file (with line and column), the trace folder, or a policy, provider or role by name."""
    message: str


def diagnose(
    source: LLMConfig | str | os.PathLike[str] | Mapping[str, Any], role: str | None = None
) -> list[CheckResult]:
    """Check everything that a call needs except the network.

    Args:
        source: A configuration, or anything `load_config` takes.
        role: Check only this role and the providers of its chain. Default: all.

    Returns:
        The results: the file first, then the policy or the providers, the traces and the roles.

    Raises:
        OSError: there is no such file, or it cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)) and name_of_source(source) != TEXT_NAME:
        _must_open(source)
    try:
        config, warnings = (source, []) if isinstance(source, LLMConfig) else load_with_warnings(source)
    except ConfigError as error:
        return [_finding(_name_of_source(source), text) for text in error.findings or (error.message,)]
    counted = ", ".join((_count(config.providers, "provider"), _count(config.roles, "role")))
    name = config.origin.file or _name_of_source(source) if isinstance(source, LLMConfig) else _name_of_source(source)
    results = [_result("ok", "file", name, f"reads well: {counted}"), *_check_variables(config)]
    results += [_finding(name, text, "warning") for text in warnings]
    try:
        router = LeeLLMRouter(config, trace_store=False)
    except LLMRouterError as error:
        return [*results, _result("error", "policy", config.policy.type, error.message)]
    with router:
        roles = list(_check_roles(router, role))
    used = {name for _, names in roles for name in names}
    for name in config.providers:
        if role is None or name in used:
            results += _check_provider(config, name)
    results.append(_check_traces(config))
    return results + [result for result, _ in roles]


def _check_variables(config: LLMConfig) -> Iterator[CheckResult]:
    """Say which variables come from where, and which of their values look as if a tool had passed them on wrongly."""
    origin = config.origin
    if origin.env_file is not None:
        if origin.env_problem is not None:
            yield _result("warning", "file", origin.env_file, f"not read: {origin.env_problem}")
        else:
            yield _result("ok", "file", origin.env_file, _shares(config, origin))
    for name in sorted(origin.used):
        if odd := oddity_of_value(origin.variable(name) or ""):
            yield _result("warning", "file", f"variable {name}", odd)


def _shares(config: LLMConfig, origin: ConfigOrigin) -> str:
    """Return which variables the `.env` gives, and which the environment has itself."""
    asked = set(origin.used)
    for settings in config.providers.values():
        named = getattr(settings, "api_key_env", None)
        others = settings.other_api_key_envs if isinstance(settings, KeyedConfig) else ()
        asked.update(name for name in (named, *others, *getattr(settings, "env", ())) if isinstance(name, str))
    known = asked & origin.variables.keys()
    given, own = sorted(known - os.environ.keys()), sorted(known & os.environ.keys())
    text = f"gives {', '.join(given)}" if given else "gives nothing that the configuration asks for"
    return text + (f"; the environment has its own {', '.join(own)}" if own else "")


def _check_roles(router: LeeLLMRouter, role: str | None) -> Iterator[tuple[CheckResult, set[str]]]:
    """Yield, for each role, the result and the names of the providers in its chain."""
    config = router.config
    if role is not None and role not in config.roles:
        known, near = ", ".join(sorted(config.roles)), Suggester().did_you_mean(role, config.roles)
        yield _result("error", "role", role, f"no such role in the configuration{near}; there are: {known}"), set()
        return
    for name in config.roles if role is None else [role]:
        try:
            chain = router.resolve(name)
            for target in chain:
                json_contract.check_schema(target.fields.get("schema"))
        except LLMRouterError as error:
            yield _result("error", "role", name, error.message), {config.roles[name].provider}
        else:
            targets = ", then ".join(target_name(target.provider, target.model) for target in chain)
            default = " (default role)" if name == config.default_role else ""
            yield _result("ok", "role", name, targets + default), {target.provider for target in chain}


def _check_provider(config: LLMConfig, name: str) -> list[CheckResult]:
    settings = config.providers[name]
    try:
        provider = registry.get(settings.type)(name, settings)
        try:
            # Settings that were filled from the environment may be secrets, and a check may name any of them.
            filled = settings.filled_values()
            results = [_result(level, "provider", name, scrub(text, filled)) for level, text in provider.check()]
        finally:
            provider.close()
    except LLMRouterError as error:
        return [_result("error", "provider", name, error.message)]
    except Exception as error:  # noqa: BLE001 - a provider from a plug-in may raise anything
        text = scrub(f"looking at it raised {type(error).__name__}: {error}", config.filled_values())
        return [_result("error", "provider", name, text)]
    return results or [_result("ok", "provider", name, f"{settings.type}: nothing to check offline")]


def _check_traces(config: LLMConfig) -> CheckResult:
    trace = config.trace
    if not trace.enabled:
        return _result("ok", "traces", "-", "switched off")
    try:
        folder = getattr(open_store(trace), "trace_dir", None)
    except ConfigError as error:
        return _result("error", "traces", trace.store.type, error.message)
    if folder is None:
        return _result("ok", "traces", trace.store.type, "a store whose place is its own matter")
    try:
        level, message = _check_folder(folder)
    except OSError as error:
        level, message = "error", f"cannot be used: {error.strerror}"
    if level == "ok" and trace.capture == "full":
        message += "; prompts and answers are stored"
    return _result(level, "traces", scrub(str(folder), trace.filled_values()), message)


def _check_folder(folder: Path) -> tuple[Level, str]:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return "error", f"{existing} is not a folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return "error", f"{existing} is not writable"
    if existing != folder:
        return "ok", "will be made when the first trace is written"
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        return "warning", f"other users may look into it (mode {mode:04o}): chmod 700"
    return "ok", "writable, and yours alone"


def _must_open(path: str | os.PathLike[str]) -> None:
    # Without blocking: opening a FIFO would wait for a writer. A ValueError (not a path) is left to `load_config`.
    with suppress(ValueError), open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)):
        pass


def _name_of_source(source: object) -> str:
    name = name_of_source(source) if isinstance(source, (str, os.PathLike)) else TEXT_NAME
    return "configuration" if name == TEXT_NAME else name


def _finding(source: str, text: str, level: Level = "error") -> CheckResult:
    """Return a finding of the loader as a result: the place it begins with is the subject, and is not said again."""
    name, position = re.escape(bounded(source)), r"(?::\d+:\d+)?"
    place = re.match(f"({name}{position}): ", text)
    subject, message = (place[1], text[place.end() :]) if place else (source, text)
    return _result(level, "file", subject, message)


def _count(things: Mapping[str, Any], what: str) -> str:
    return f"{len(things)} {what}" + ("" if len(things) == 1 else "s")


def _result(level: Level, check: Any, subject: str, message: str) -> CheckResult:
    return CheckResult(level, check, bounded(subject), bounded(message))
