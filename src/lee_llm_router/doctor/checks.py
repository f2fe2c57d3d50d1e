"""What is wrong, or will be, with a configuration on this machine: found out without sending anything.

Each check gives findings; nothing is printed here. What only a provider can know (its key, its binary and version) is
asked of the provider (`Provider.check`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.scrubbing import bounded, scrub
from lee_llm_router.config.models import LLMConfig, load_config
from lee_llm_router.engine import json_contract
from lee_llm_router.errors import ConfigError, LLMRouterError
from lee_llm_router.providers import registry
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.telemetry.records import target_name
from lee_llm_router.telemetry.stores.open import open_store

Level: TypeAlias = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    check: Literal["file", "policy", "provider", "traces", "role"]
    subject: str
    """What was looked at: the file, or the name of a provider or role."""
    message: str


def diagnose(source: LLMConfig | str | os.PathLike[str] | Mapping[str, Any], role: str | None = None) -> list[Finding]:
    """Look at everything a call would need, short of the network.

    Args:
        source: A configuration, or anything `load_config` takes.
        role: Look only at this role and the providers of its chain. Default: all.

    Raises:
        OSError: there is no such file, or it cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)) and "\n" not in os.fspath(source):
        _must_open(source)
    try:
        config = source if isinstance(source, LLMConfig) else load_config(source)
    except ConfigError as error:
        subject = _name_of(source)
        return [_finding("error", "file", subject, text) for text in error.findings or (error.message,)]
    counted = ", ".join((_count(config.providers, "provider"), _count(config.roles, "role")))
    findings = [_finding("ok", "file", _name_of(source), f"reads well: {counted}")]
    try:
        router = LeeLLMRouter(config, trace_store=False)
    except LLMRouterError as error:
        return [*findings, _finding("error", "policy", config.policy, error.message)]
    with router:
        roles = dict(_dry_run(router, role))
    used = {name for found in roles.values() for name in found[1]}
    for name in config.providers:
        if role is None or name in used:
            findings += _check_provider(config, name)
    findings.append(_check_traces(config))
    return findings + [found[0] for found in roles.values()]


def _dry_run(router: LeeLLMRouter, role: str | None) -> Iterator[tuple[str, tuple[Finding, set[str]]]]:
    """For each role: what its chain is, and the names of the providers in it."""
    config = router.config
    if role is not None and role not in config.roles:
        known = ", ".join(sorted(config.roles))
        yield role, (_finding("error", "role", role, f"no such role in the configuration; there are: {known}"), set())
        return
    for name in config.roles if role is None else [role]:
        try:
            chain = router.resolve(name)
            for target in chain:
                json_contract.check_schema(target.fields.get("schema"))
        except LLMRouterError as error:
            yield name, (_finding("error", "role", name, error.message), {config.roles[name].provider})
        else:
            targets = ", then ".join(target_name(target.provider, target.model) for target in chain)
            default = " (default role)" if name == config.default_role else ""
            yield name, (_finding("ok", "role", name, targets + default), {target.provider for target in chain})


def _check_provider(config: LLMConfig, name: str) -> list[Finding]:
    settings = config.providers[name]
    try:
        provider = registry.get(settings.type)(name, settings)
        try:
            said = [_finding(level, "provider", name, text) for level, text in provider.check()]
        finally:
            provider.close()
    except LLMRouterError as error:
        return [_finding("error", "provider", name, error.message)]
    except Exception as error:  # noqa: BLE001 - a provider of someone else's making
        text = scrub(f"looking at it raised {type(error).__name__}: {error}", config.filled_values())
        return [_finding("error", "provider", name, text)]
    return said or [_finding("ok", "provider", name, f"{settings.type}: nothing to check offline")]


def _check_traces(config: LLMConfig) -> Finding:
    trace = config.trace
    if not trace.enabled:
        return _finding("ok", "traces", "-", "switched off")
    folder = open_store(trace).trace_dir
    try:
        level, message = _look_at_folder(folder)
    except OSError as error:
        level, message = "error", f"cannot be used: {error.strerror}"
    if level == "ok" and trace.capture == "full":
        message += "; prompts and answers are stored"
    return _finding(level, "traces", str(folder), message)


def _look_at_folder(folder: Path) -> tuple[Level, str]:
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
    # Not blocking: opening a FIFO would wait for a writer. ValueError (no path at all) is for `load_config` to say.
    with suppress(ValueError), open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)):
        pass


def _name_of(source: object) -> str:
    return str(source) if isinstance(source, (str, os.PathLike)) and "\n" not in str(source) else "configuration"


def _count(things: Mapping[str, Any], what: str) -> str:
    return f"{len(things)} {what}" + ("" if len(things) == 1 else "s")


def _finding(level: Level, check: Any, subject: str, message: str) -> Finding:
    return Finding(level, check, bounded(subject), bounded(message))
