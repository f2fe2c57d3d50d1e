"""Turns names of targets, ``vendor/model``, into the configuration from which `LeeLLMRouter.of` builds a router.

It is the configuration that a file would hold, and the loader checks it. Mistakes are reported in the words of the
call: a target as it was written, an option by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from lee_llm_router._util.counted_things import counted
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import quoted
from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.config.load import load_config
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.config.references import MAX_CHAIN
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.keys import KeyedConfig
from lee_llm_router.providers.vendors import vendor_called, vendors
from lee_llm_router.routing.router_arguments import RouterArguments, TargetOptions

ROLE = "default"
"""The only role of a router that is built from names."""

EXAMPLE = "anthropic/claude-sonnet-5-5"

_OTHER_SERVERS = "{'type': 'http', 'base_url': 'https://SERVER/v1'}"

_MAX_SHOWN = 128

_NAMED_BY_TARGET = ("provider", "model", "fallback_providers")


@dataclass(frozen=True, slots=True)
class NamedTarget:
    """A target as it was named."""

    vendor: str
    model: str | None


def split_options(options: TargetOptions) -> tuple[dict[str, Any], RouterArguments]:
    """Return the settings of the role, and the arguments of the router's class."""
    arguments = RouterArguments.__annotations__
    role = {name: value for name, value in options.items() if name not in arguments}
    given = {name: value for name, value in options.items() if name in arguments}
    return role, cast(RouterArguments, given)


def config_of_targets(targets: Sequence[object], role: Mapping[str, Any], providers: Any) -> LLMConfig:
    """Return the configuration of a router whose only role is served by `targets`, in order.

    Args:
        targets: The names as passed, not checked yet.
        role: Settings of the role.
        providers: Settings of providers, by name.

    Raises:
        ConfigError: an argument is wrong, or none of the targets has a key.
    """
    found = _Findings()
    if not isinstance(providers, Mapping):
        found.append("providers: a mapping of names to mappings of settings is wanted")
        found.raise_any()
    named = _checked_targets(targets, providers, found)
    found.extend(_stray_options(role))
    _check_providers(providers, named, found)
    found.raise_any()
    sections: dict[str, dict[str, Any]] = {}
    first, *others = (_chain_entry(one, providers, sections) for one in named)
    try:
        config = load_config({
            "llm": {"providers": sections, "roles": {ROLE: {**role, **first, "fallback_providers": others}}}
        })  # fmt: skip
    except ConfigError as error:
        found.extend(_in_words_of_the_call(finding) for finding in error.findings)
        found.raise_any()
        raise
    _need_one_key(config)
    return config


def _shown(name: str) -> str:
    """Return a name as messages show it: without texts that look like a key, which a caller may pass by mistake."""
    return quoted(name, (), _MAX_SHOWN)


def _chain_entry(
    one: NamedTarget, providers: Mapping[str, Mapping[str, Any]], sections: dict[str, dict[str, Any]]
) -> dict[str, str | None]:
    """Return a target as an entry of a chain, and add its provider to `sections`.

    The second half of its name is a model, unless the type says that it is another setting; then each target is a
    provider of its own.
    """
    settings = {"type": one.vendor, **providers.get(one.vendor, {})}
    named = _setting_in_name(str(settings["type"]))
    if named == "model":
        sections[one.vendor] = settings
        return {"provider": one.vendor, "model": _literal(one.model)}
    name = one.vendor if one.vendor not in sections else f"{one.vendor}-{len(sections) + 1}"
    sections[name] = settings if one.model is None else {**settings, named: _literal(one.model)}
    return {"provider": name, "model": None}


def _setting_in_name(type_name: str) -> str:
    try:
        model = registry.PROVIDERS.settings_model(type_name)
    except ConfigError:
        return "model"  # the loader says what is wrong with the type
    return str(getattr(model, "setting_in_target_name", "model"))


def _literal(text: str | None) -> str | None:
    """Escape `text` so that the loader reads it literally: a name given in code refers to no variables."""
    return None if text is None else text.replace("${", "$${")


class _Findings(list[str]):
    def raise_any(self) -> None:
        if self:
            count = counted(len(self), "mistake")
            raise ConfigError(f"{count} in the targets and their options", findings=self, sent=False)


def _checked_targets(targets: Sequence[object], providers: Mapping[str, Any], found: _Findings) -> list[NamedTarget]:
    if not targets:
        found.append(f"no target: name at least one, as vendor/model ({EXAMPLE!r}, say)")
    if len(targets) > MAX_CHAIN:
        found.append(f"at most {MAX_CHAIN} targets, not {len(targets)}")
        return []
    named: dict[NamedTarget, None] = {}
    suggester = Suggester()
    for target in targets:
        if not isinstance(target, str):
            hint = ": write of(*names)" if isinstance(target, (list, tuple)) else ""
            found.append(f"the name of a target must be text, not {type(target).__name__}{hint}")
            continue
        one, problem = _parsed(target, providers, suggester)
        shown = _shown(target.strip())
        if problem is not None:
            found.append(f"{shown!r}: {problem}")
        elif one in named:
            found.append(f"{shown!r}: named twice")
        else:
            named[one] = None
    return list(named)


def _parsed(target: str, providers: Mapping[str, Any], suggester: Suggester) -> tuple[NamedTarget, str | None]:
    """Return the parts of `target`, and any mistake in it."""
    text = target.strip()
    vendor, slash, model = text.partition("/")
    one = NamedTarget(vendor, model or None)
    if not text:
        return one, f"a target is named as vendor/model ({EXAMPLE!r}, say)"
    if not vendor:
        return one, f"the vendor is missing: vendor/model ({EXAMPLE!r}, say)"
    known = {*registry.available(), *(name for name in providers if isinstance(name, str))}
    if vendor not in known:
        return one, _unknown_vendor(vendor, model, suggester.closest(vendor, known))
    missing = None if model else _missing_setting(vendor, providers, asked=bool(slash))
    if missing is not None:
        example = vendors()[vendor].model if vendor in vendors() else None
        return one, f"the {missing} is missing: {vendor}/{example or missing.upper()}"
    return one, None


def _unknown_vendor(vendor: str, model: str, near: str | None) -> str:
    """Describe a target whose `vendor` is unknown, and suggest what may have been meant."""
    before, colon, after = vendor.partition(":")
    if colon and before in registry.available():
        name = after + (f"/{model}" if model else "")
        return f"a vendor and its model are joined by a slash: {_shown(f'{before}/{name}')}"
    if model:
        called = vendor_called(vendor)
        meant = called.name if called else near
        hint = f"did you mean {meant!r}? any other server: " if meant else "any server: "
        return f"unknown vendor {_shown(vendor)!r} ({hint}providers={{{_shown(vendor)!r}: {_OTHER_SERVERS}}})"
    # Most models are named after their maker: claude-sonnet-5, gpt-5-mini.
    maker = vendor_called(vendor.partition("-")[0])
    if maker is not None and "-" in vendor:
        return f"the vendor is missing: {_shown(f'{maker.name}/{vendor}')}"
    named = f" (did you mean {near!r}?)" if near else ""
    return f"unknown vendor{named}: write vendor/model ({EXAMPLE!r}, say)"


def _missing_setting(vendor: str, providers: Mapping[str, Any], *, asked: bool) -> str | None:
    """Return the setting that is missing after the slash in the name of a target; None if it needs none.

    Args:
        vendor: The part before the slash.
        providers: Settings of providers, which may have it.
        asked: Whether there is a slash, so that something has to follow.
    """
    settings = providers.get(vendor, {})
    type_name = str(settings.get("type", vendor)) if isinstance(settings, Mapping) else vendor
    named = _setting_in_name(type_name)
    if isinstance(settings, Mapping) and settings.get(named):
        return named if asked else None
    row = vendors().get(type_name)
    needed = asked or named != "model" or (row is not None and not row.model_optional)
    return named if needed else None


def _stray_options(role: Mapping[str, Any]) -> list[str]:
    return [f"{name}: set it in the targets, as vendor/model" for name in _NAMED_BY_TARGET if name in role]


def _check_providers(providers: Mapping[str, Any], named: Sequence[NamedTarget], found: _Findings) -> None:
    used = {one.vendor for one in named}
    suggester = Suggester()
    for name, settings in providers.items():
        if not isinstance(name, str) or not isinstance(settings, Mapping):
            found.append("providers: a mapping of names to mappings of settings is wanted")
        elif name not in used and not found:
            hint = suggester.did_you_mean(name, used)
            found.append(f"providers.{_shown(name)}: no target uses it{hint}")


def _in_words_of_the_call(finding: str) -> str:
    return finding.removeprefix("<mapping>: ").removeprefix("llm.").removeprefix(f"roles.{ROLE}.")


def _need_one_key(config: LLMConfig) -> None:
    """Refuse a chain if none of its targets has its key: no call could be answered, and each would fail anew.

    Raises:
        ConfigError: no target has its key; the message says which variables to set.
    """
    missing = {name: variables for name, one in config.providers.items() if (variables := _unset_variables(one))}
    if len(missing) == len(config.providers):
        wanted = "; ".join(f"{' or '.join(variables)} for {name}" for name, variables in missing.items())
        raise ConfigError(f"none of the targets has a key: set {wanted}", sent=False)


def _unset_variables(settings: ProviderConfig) -> tuple[str, ...]:
    """Return the variables that may hold the key if none of them is set; empty if one is set or no key is needed."""
    if isinstance(settings, KeyedConfig):
        variables = settings.key_variables()
    else:
        named = getattr(settings, "api_key_env", None)  # in a third-party provider it may be anything
        variables = (named,) if isinstance(named, str) else ()
    is_set = any((settings.origin.variable(name) or "").strip() for name in variables)
    return () if is_set else variables
