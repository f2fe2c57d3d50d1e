"""References between parts of a configuration: names of providers and roles, and chains without repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lee_llm_router.settings.mistakes import Mistake
from lee_llm_router.settings.model import KeyPath
from lee_llm_router.telemetry.pricing.settings import unknown_priced

MAX_CHAIN = 100
"""The most fallbacks a role may have."""


def check_references(config: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield a mistake for each reference of `config` to something that does not exist, and for each repeated target.

    `config` is the mapping under ``llm``, not validated yet. Parts of the wrong type are skipped: validation reports
    them.
    """
    providers, roles = _mapping(config.get("providers")), _mapping(config.get("roles"))
    for name, role in roles.items():
        if not isinstance(role, Mapping):
            continue
        path = ("roles", name)
        yield from _unknown_provider(role, path, providers)
        for index, fallback in enumerate(_fallbacks(role)):
            yield from _unknown_provider(fallback, (*path, "fallback_providers", index), providers)
        yield from _repeated_targets(role, path, providers)
    yield from _wrong_default_role(config, list(roles))
    yield from unknown_priced(config.get("pricing"), providers)


def _unknown_provider(target: Any, path: KeyPath, providers: Mapping[str, Any]) -> Iterator[Mistake]:
    if isinstance(target, Mapping):
        target, path = target.get("provider"), (*path, "provider")
    if isinstance(target, str) and target not in providers:
        yield Mistake(path, "no such provider", word=target, known=providers, kind="unknown_provider")


def _repeated_targets(role: Mapping[str, Any], path: KeyPath, providers: Mapping[str, Any]) -> Iterator[Mistake]:
    own = {key: value for key, value in role.items() if key not in ("provider", "model", "fallback_providers")}
    seen: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    targets = [_mapping({"provider": item} if isinstance(item, str) else item) for item in _fallbacks(role)]
    for index, target in enumerate([{"provider": role.get("provider"), "model": role.get("model")}, *targets]):
        settings = {**own, **target}
        role_model = None if settings.get("model", "") is None else role.get("model")
        name, model = settings.pop("provider", None), settings.pop("model", None)
        model = model or _model_of(providers, name) or role_model
        if not isinstance(name, str) or not isinstance(model, str | None):
            continue
        alike = seen.setdefault((name, model), [])
        if settings in alike:
            message = "the same provider, model and settings are already in the chain"
            yield Mistake((*path, "fallback_providers", index - 1), message, kind="repeated")
        alike.append(settings)


def _wrong_default_role(config: Mapping[str, Any], roles: list[str]) -> Iterator[Mistake]:
    default = config.get("default_role")
    if isinstance(default, str) and default not in roles:
        yield Mistake(("default_role",), "no such role", word=default, known=roles, kind="unknown_role")
    if default is None and len(roles) > 1:
        message = "missing: with several roles, name the one for calls that name none"
        yield Mistake(("default_role",), message, at="parent", kind="default_role")


def _model_of(providers: Mapping[str, Any], name: Any) -> Any:
    provider = providers.get(name) if isinstance(name, str) else None
    return provider.get("model") if isinstance(provider, Mapping) else getattr(provider, "model", None)


def _fallbacks(role: Mapping[str, Any]) -> Sequence[Any]:
    found = role.get("fallback_providers")
    return found[:MAX_CHAIN] if isinstance(found, (list, tuple)) else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
