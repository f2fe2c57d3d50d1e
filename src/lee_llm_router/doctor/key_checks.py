"""Checks of keys that no provider can make alone: another vendor's key, a placeholder, a key file tracked by git."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from lee_llm_router._util.git_files import is_tracked
from lee_llm_router._util.hosts import host_of, is_this_machine, site_of
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.keys import KeyedConfig, KeySource
from lee_llm_router.providers.vendors import Vendor, vendors

_PLACEHOLDER = re.compile(
    r"(?:.*[-_ .<\[{])?(?:your|my|insert|put|replace|paste|enter|example|dummy|fake"
    r"|placeholder|change[-_ ]?me|todo|tbd)"
    r"(?:[-_ .>\]}].*)?|<.*>|\[.*\]|\{.*\}|(?:sk-|key-?)?(?:x{4,}|\.{3,}|\*{3,}|0{8,}|1234567890?)(?:[-_.].*)?"
    r"|(?:none|null|undefined|secret|password|api[-_ ]?key|token)",
    re.IGNORECASE | re.DOTALL,
)
_MAX_KEY = 400
_AGENTS = {"claude_cli": "anthropic", "codex_cli": "openai", "gemini_cli": "gemini"}
"""The vendor that receives an agent's key if no address is set."""


def check_keys(partial: PartialConfig, config: LLMConfig) -> Iterator[CheckResult]:
    """Yield oddities of the providers' keys. Shows nothing of a key except the prefix common to its vendor's keys."""
    for name, settings in config.providers.items():
        if isinstance(settings, KeyedConfig):
            for one in settings.by_key():
                yield from _check_key(partial, name, one)


def _check_key(partial: PartialConfig, name: str, settings: KeyedConfig) -> Iterator[CheckResult]:
    at = partial.place(("providers", name))
    if settings.api_key_file is not None:
        try:
            path = settings.origin.path(settings.api_key_file)
        except OSError:
            return
        if is_tracked(path):
            yield found("LLR305", name, f"git tracks api_key_file {settings.api_key_file}", at=Place(str(path)))
    try:
        key = KeySource(settings, name).read()
    except AuthenticationError:
        return
    if not key:
        return
    variables = settings.key_variables()
    set_one = next((one for one in variables if (settings.origin.variable(one) or "").strip()), None)
    what = set_one or f"api_key_file {settings.api_key_file}"
    local = is_this_machine(host_of(str(getattr(settings, "base_url", "") or "")))
    if not local and _PLACEHOLDER.fullmatch(key[:_MAX_KEY]):
        yield found("LLR307", name, f"{what} holds a placeholder, not a key", at=at)
        return
    begins, owner = owner_of_key(key)
    asked = vendor_of(settings)
    if owner and asked is not None and site_of(host_of(asked.base_url)) not in owner:
        text = f"{what} holds a key that begins with {begins}, as those of {_names(owner)} do, and goes to {asked.name}"
        yield found("LLR306", name, text, at=at)


def owner_of_key(key: str) -> tuple[str, Mapping[str, str]]:
    """Return the prefix of `key`, and the vendors, by site, whose keys begin with it; empty if unknown."""
    prefix = max((one for one in _prefixes() if key.startswith(one)), key=len, default="")
    return prefix, _prefixes().get(prefix, {})


def vendor_of(settings: ProviderConfig) -> Vendor | None:
    """Return the vendor whose own address a provider uses; None if unknown, or on this machine."""
    address = getattr(settings, "base_url", None)
    if address is None and settings.type in _AGENTS:
        return vendors()[_AGENTS[settings.type]]
    host = host_of(str(address or ""))
    if not host or is_this_machine(host):
        return None
    return next((one for one in vendors().values() if site_of(host_of(one.base_url)) == site_of(host)), None)


@cache
def _prefixes() -> Mapping[str, Mapping[str, str]]:
    """Return the vendors, by site, for each prefix of keys."""
    by_prefix: dict[str, dict[str, str]] = {}
    for vendor in vendors().values():
        for prefix in vendor.key_prefixes:
            by_prefix.setdefault(prefix, {}).setdefault(site_of(host_of(vendor.base_url)), vendor.name)
    return by_prefix


def _names(owners: Mapping[str, str]) -> str:
    return " and ".join(dict.fromkeys(owners.values()))
