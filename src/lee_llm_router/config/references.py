"""What one part of a configuration says of another: providers and roles that exist, chains without repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lee_llm_router.settings.model import Path

MAX_CHAIN = 100
"""Fallbacks a role may have."""

_POLICIES = "lee_llm_router.policies"


class BrokenReference(NamedTuple):
    """One reference that leads nowhere."""

    path: Path
    message: str
    word: str = ""
    """What was written, for a suggestion; never shown."""
    known: Sequence[str] = ()


def check_references(config: Mapping[str, Any]) -> Iterator[BrokenReference]:
    """Every reference of `config` (the mapping under ``llm``, unchecked) that leads nowhere.

    Parts that have the wrong type are passed over: they are findings of their own.
    """
    providers, roles = _mapping(config.get("providers")), _mapping(config.get("roles"))
    for name, role in roles.items():
        if not isinstance(role, Mapping):
            continue
        path = ("roles", name)
        yield from _provider_exists(role, path, providers)
        for index, fallback in enumerate(_fallbacks(role)):
            yield from _provider_exists(fallback, (*path, "fallback_providers", index), providers)
        yield from _repeats(role, path, providers)
    yield from _default_role(config, list(roles))
    yield from _policy(config.get("policy"))


def _provider_exists(target: Any, path: Path, providers: Mapping[str, Any]) -> Iterator[BrokenReference]:
    if isinstance(target, Mapping):
        target, path = target.get("provider"), (*path, "provider")
    if isinstance(target, str) and target not in providers:
        yield BrokenReference(path, "no such provider", target, list(providers))


def _repeats(role: Mapping[str, Any], path: Path, providers: Mapping[str, Any]) -> Iterator[BrokenReference]:
    own = {key: value for key, value in role.items() if key not in ("provider", "model", "fallback_providers")}
    seen: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    targets = [_mapping({"provider": item} if isinstance(item, str) else item) for item in _fallbacks(role)]
    for index, target in enumerate([{"provider": role.get("provider"), "model": role.get("model")}, *targets]):
        settings = {**own, **target}
        name, model = settings.pop("provider", None), settings.pop("model", None)
        model = model or _model(providers, name) or role.get("model")
        if not isinstance(name, str) or not isinstance(model, str | None):
            continue
        alike = seen.setdefault((name, model), [])
        if settings in alike:
            message = "the same provider, model and settings stand in the chain already"
            yield BrokenReference((*path, "fallback_providers", index - 1), message)
        alike.append(settings)


def _default_role(config: Mapping[str, Any], roles: list[str]) -> Iterator[BrokenReference]:
    default = config.get("default_role")
    if isinstance(default, str) and default not in roles:
        yield BrokenReference(("default_role",), "no such role", default, roles)
    if default is None and len(roles) > 1:
        yield BrokenReference(
            ("default_role",), "missing: with several roles, say which serves where none is asked for"
        )


def _policy(name: Any) -> Iterator[BrokenReference]:
    if not isinstance(name, str) or name == "simple":
        return
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and few configurations name a policy

    known = ["simple", *entry_points(group=_POLICIES).names]
    if name not in known:
        yield BrokenReference(("policy",), "no such routing policy is installed", name, known)


def _model(providers: Mapping[str, Any], name: Any) -> Any:
    provider = providers.get(name) if isinstance(name, str) else None
    return provider.get("model") if isinstance(provider, Mapping) else getattr(provider, "model", None)


def _fallbacks(role: Mapping[str, Any]) -> Sequence[Any]:
    found = role.get("fallback_providers")
    return found[:MAX_CHAIN] if isinstance(found, (list, tuple)) else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
