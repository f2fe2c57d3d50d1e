"""The settings of a call to explain: each with its value in a form that may be shown, and its source."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from lee_llm_router._util.masked_text import MaskedText
from lee_llm_router._util.scrubbing import MASK, is_sensitive_header, is_sensitive_parameter, scrub
from lee_llm_router.config.models import CallSettings, LLMConfig, RoleConfig
from lee_llm_router.engine.operation import shown_schema
from lee_llm_router.engine.plan import CallPlan, Target
from lee_llm_router.engine.settings import AcceptConfig
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.routing.chain import MERGED, ChosenTarget
from lee_llm_router.routing.explanation import ExplainedSetting, SettingSource

_MAX_TEXT = 2000
_MAX_DEPTH = 8
_SECTIONS = ("retry", "stream")
_ORDER = [*(field.alias or name for name, field in CallSettings.model_fields.items()), "tools", "tool_choice", "model"]
"""Settings of a request, in display order."""
_SHOWN_BESIDE = frozenset({"type", "model"})
"""Settings of a provider that appear elsewhere in the explanation."""


class TargetSettings:
    """The settings for one target, and their sources.

    Args:
        entry: The target before the arguments of the call, and the sources of its settings.
        config: The configuration.
        role: The role.
        asked: The arguments of the call.
        secrets: Values that must not be shown.
    """

    def __init__(
        self, entry: ChosenTarget, config: LLMConfig, role: RoleConfig, asked: Mapping[str, Any],
        secrets: Collection[str],
    ) -> None:  # fmt: skip
        self._entry = entry
        self._config = config
        self._role = role
        self._asked = asked
        self._secrets = secrets
        fallbacks = role.fallback_providers
        self._fallback = fallbacks[entry.listed - 1] if entry.listed else None
        """The target's own entry in the file, if it is a fallback."""

    def model_source(self, target: Target) -> SettingSource:
        """Return the source of the model of `target`."""
        if target.model is None:
            return "default"
        if target.model != self._entry.target.model or (
            "model" in self._asked and target.model == self._asked["model"]
        ):
            return "call"
        if "model" in self._entry.policy_fields:
            return "policy"
        if self._fallback is not None and self._fallback.model is not None:
            return "fallback"
        own_role = self._entry.listed == 0 and self._role.model is not None
        return "role" if own_role or self._config.providers[target.provider].model is None else "provider"

    def settings(self, target: Target) -> Iterator[ExplainedSetting]:
        """Yield the settings for `target`: its request's fields, and its timeout."""
        fields = {"timeout": target.timeout, **target.fields}
        for name in sorted(fields, key=_ORDER.index):
            value = fields[name]
            if name in MERGED and isinstance(value, Mapping):
                for key, part in value.items():
                    yield ExplainedSetting(
                        f"{name}.{key}", _shown({key: part}, self._secrets)[key], self._source(name, key)
                    )
            elif name == "schema":
                yield ExplainedSetting(name, _shown(shown_schema(value), self._secrets), self._source(name))
            elif name == "tools":
                yield ExplainedSetting(name, [_tool_name(tool) for tool in value], self._source(name))
            else:
                yield ExplainedSetting(name, _shown(value, self._secrets), self._source(name))

    def _source(self, name: str, key: str | None = None) -> SettingSource:
        sources: tuple[tuple[SettingSource, Mapping[str, Any]], ...] = (
            ("call", self._asked),
            ("policy", self._entry.policy_fields),
            ("fallback", _written(self._fallback)),
            ("role", _written(self._role)),
        )
        for source, fields in sources:
            if name in fields and (key is None or key in (fields[name] or {})):
                return source
        return "default"


def _written(settings: CallSettings | None) -> dict[str, Any]:
    if settings is None:
        return {}
    names = {name: "schema" if name == "response_schema" else name for name in settings.model_fields_set}
    return {shown: getattr(settings, name) for name, shown in names.items()}


def provider_settings(
    config: ProviderConfig, written: Collection[str], overrides: Collection[str], secrets: Collection[str]
) -> Iterator[ExplainedSetting]:
    """Yield the settings of a provider that were set explicitly: those `written` in the file, and the policy's.

    Nested settings are also limited to those set explicitly.
    """
    names = sorted({*written, *overrides} - _SHOWN_BESIDE)
    try:
        masked = {**config.model_dump(mode="json"), **config.model_dump(mode="json", exclude_unset=True)}
    except Exception:  # noqa: BLE001 - the settings of a third-party provider may hold anything
        masked = dict.fromkeys(names, "(cannot be shown)")
    for name in names:
        source: SettingSource = "policy" if name in overrides else "provider"
        yield ExplainedSetting(name, _shown({name: masked.get(name)}, secrets, names_are_settings=True)[name], source)


def call_settings(
    plan: CallPlan, role: RoleConfig, asked: Mapping[str, Any], secrets: Collection[str]
) -> Iterator[ExplainedSetting]:
    """Yield the settings for the whole call of `plan`, which already includes its arguments."""
    written = role.model_fields_set

    def source(name: str) -> SettingSource:
        return "call" if name in asked else "role" if name in written else "default"

    yield ExplainedSetting("deadline", plan.deadline, source("deadline"))
    for section in _SECTIONS:
        yield from _of_section(section, getattr(role, section), section in written)
    for section, of_role, used in (("contract", role.contract, plan.contract), ("hedge", role.hedge, plan.hedge)):
        for name in () if used is None else type(used).model_fields:
            by_call = name in getattr(asked.get(section), "model_fields_set", ())
            by_role = section in written and name in getattr(of_role, "model_fields_set", ())
            value = getattr(used, name)
            yield ExplainedSetting(f"{section}.{name}", value, "call" if by_call else "role" if by_role else "default")
    if isinstance(plan.accept, AcceptConfig):
        for name in sorted(plan.accept.model_fields_set):
            yield ExplainedSetting(f"accept.{name}", _shown(getattr(plan.accept, name), secrets), source("accept"))
    elif plan.accept is not None:
        named = getattr(plan.accept, "__name__", type(plan.accept).__name__)
        yield ExplainedSetting("accept", str(named), source("accept"))
    yield ExplainedSetting("fallback_on", sorted(role.fallback_on), source("fallback_on"))
    yield ExplainedSetting("retry_effects", role.retry_effects, source("retry_effects"))
    for name, value in plan.metadata.items():
        by_call = name in (asked.get("metadata") or {})
        yield ExplainedSetting(f"metadata.{name}", _shown({name: value}, secrets)[name], "call" if by_call else "role")


def _of_section(name: str, settings: BaseModel, is_written: bool) -> Iterator[ExplainedSetting]:
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        if value is not None:
            by_role = is_written and field in settings.model_fields_set
            yield ExplainedSetting(f"{name}.{field}", value, "role" if by_role else "default")


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name")) if isinstance(function, Mapping) else str(tool.get("type"))


def _shown(value: Any, secrets: Collection[str], depth: int = 0, *, names_are_settings: bool = False) -> Any:
    """Return `value` as plain JSON data, without secrets and without long texts."""
    if isinstance(value, str):
        return _shown_text(value, secrets)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {
            str(key): MASK
            if not names_are_settings and _names_secret(str(key)) and isinstance(item, str)
            else _shown(item, secrets, depth + 1)
            for key, item in value.items()
        }
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_shown(item, secrets, depth + 1) for item in value]
    return f"({type(value).__name__})"


def _shown_text(text: str, secrets: Collection[str]) -> str:
    if isinstance(text, MaskedText):
        return MASK
    clean = scrub(text[: _MAX_TEXT * 2], secrets)
    return clean if len(clean) <= _MAX_TEXT else clean[: _MAX_TEXT - 1] + "…"


def _names_secret(name: str) -> bool:
    return is_sensitive_header(name) or is_sensitive_parameter(name)
