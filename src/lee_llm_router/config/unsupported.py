"""Role settings that a target in the chain cannot express: that target will be skipped, so loading warns about it."""

from __future__ import annotations

from collections.abc import Iterator

from lee_llm_router.config.models import CallSettings, ChainEntry, LLMConfig
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.response.types import LLMRequest
from lee_llm_router.settings.mistakes import Mistake

_OF_NO_REQUEST = ("timeout",)


def unsupported_settings(config: LLMConfig) -> Iterator[Mistake]:
    """Yield a mistake for each setting of a role that one of its targets cannot express.

    A target with `drop_unsupported` yields none: such a setting is left out there.
    """
    for name, role in config.roles.items():
        if not _asks_for_anything(role) and not any(map(_asks_for_anything, role.fallback_providers)):
            continue
        for index, entry in enumerate(config.chain(name)):
            own = role.fallback_providers[index - 1] if index else role
            for option, reason in missing_in_entry(config.providers[entry.provider], entry).items():
                field = "response_schema" if option == "schema" else option
                in_fallback = index and field in own.model_fields_set
                where = ("roles", name, "fallback_providers", index - 1) if in_fallback else ("roles", name)
                message = f"{entry.provider} does not support this and will be skipped: {reason}"
                hint = " (drop_unsupported: true leaves it out)"
                yield Mistake((*where, option), message, at="key", hint=hint, kind="unsupported")


def _asks_for_anything(settings: CallSettings) -> bool:
    return bool(settings.model_fields_set & CallSettings.model_fields.keys() - set(_OF_NO_REQUEST))


def missing_in_entry(settings: ProviderConfig, entry: ChainEntry) -> dict[str, str]:
    """Return the settings of `entry` that its provider cannot express, each with the reason."""
    asked = entry.settings
    if asked.drop_unsupported:
        return {}
    try:
        provider: type[Provider[ProviderConfig]] = PROVIDERS.get(settings.type)
    except ConfigError:  # a hand-built model of a type that is not registered
        return {}
    fields = {name: getattr(asked, name) for name in asked.model_fields_set if name not in _OF_NO_REQUEST}
    fields = {name: value for name, value in fields.items() if value is not None}
    if "response_schema" in fields:
        fields["schema"] = fields.pop("response_schema")
    try:
        return dict(provider.unsupported(LLMRequest(messages=(), model=entry.model, **fields), settings))
    except Exception:  # noqa: BLE001 - a third-party provider; in a call it is an error, traced
        return {}
