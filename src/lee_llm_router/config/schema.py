"""The JSON Schema of a configuration file, generated from the models; and the two files that ship with the package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lee_llm_router.config.models import LLMConfig
from lee_llm_router.config.tree import TOP_KEY
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.vendors import vendors
from lee_llm_router.settings.plugins import PluginSettings

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""A text that contains ``${VAR}``. It is allowed wherever a number, a boolean or one of a few words is expected."""

# The bounds of an optional value, which pydantic leaves under its own names.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def json_schema(*, installed: bool = False) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file.

    Args:
        installed: Describe every provider type that is registered or installed here; by default the built-in ones.
            Either way the schema accepts other types.
    """
    types = dict(_types(registry.available() if installed else registry.BUILTIN_NAMES))
    models: set[type[BaseModel]] = {LLMConfig, *(settings for settings, _ in types.values())}
    ordered = sorted(models, key=lambda one: (one.__module__, one.__qualname__))
    names, whole = models_json_schema([(one, "validation") for one in ordered])
    refs = {one: names[one, "validation"]["$ref"].rpartition("/")[2] for one in ordered}
    defs = {name: _relaxed(_untitled(part)) for name, part in whole["$defs"].items()}
    of_types = {settings: refs[settings] for settings, _ in types.values()}
    defs["Provider"] = _provider(types, {one: (name, defs[name]) for one, name in of_types.items()})
    defs[refs[LLMConfig]]["properties"]["providers"]["additionalProperties"] = {"$ref": "#/$defs/Provider"}
    for name in of_types.values():
        # Required keys are listed at each reference to the model, since an alias fills in some of them.
        defs[name] = {key: part for key, part in defs[name].items() if key != "required"}
    if ProviderConfig not in of_types:
        defs.pop(ProviderConfig.__name__, None)
    # The settings of a policy, a store or a sink are known only once it is loaded.
    defs[PluginSettings.__name__]["additionalProperties"] = True
    return {
        "$schema": _DRAFT,
        "title": "Lee LLM Router configuration",
        "description": "The router reads only what is under llm; other keys belong to the application.",
        "type": "object",
        "required": [TOP_KEY],
        "properties": {TOP_KEY: {"$ref": f"#/$defs/{refs[LLMConfig]}"}},
        "$defs": dict(sorted(defs.items())),
    }


def schema_text() -> str:
    """Return the JSON Schema file that ships with the package: `json_schema()` as text."""
    return _template("llm.schema.json")


def template_text() -> str:
    """Return the annotated example configuration that ships with the package. It loads unchanged, without a network."""
    return _template("llm.example.yaml")


def _template(name: str) -> str:
    from importlib.resources import files  # noqa: PLC0415

    return files("lee_llm_router.config").joinpath("templates", name).read_text(encoding="utf-8")


def _types(names: tuple[str, ...]) -> Iterator[tuple[str, tuple[type[ProviderConfig], Mapping[str, Any]]]]:
    """Yield each type and alias by name, with the model of its settings and the alias's defaults."""
    for name in sorted(names):
        try:
            yield name, (registry.get(name).config_model, registry.resolve(name)[1])
        except ConfigError:
            # It is installed but cannot be loaded: a file that names it learns why when the file is loaded.
            continue


def _provider(
    types: Mapping[str, tuple[type[ProviderConfig], Mapping[str, Any]]],
    schemas: Mapping[type, tuple[str, dict[str, Any]]],
) -> dict[str, Any]:
    """Return the schema of a mapping whose ``type`` selects the schema of the rest. Unknown types are accepted.

    A type refers to the schema of its settings by name, since most types are aliases that share one schema.

    Args:
        types: The types and aliases by name, with the models of their settings and the defaults of aliases.
        schemas: By model, the name and the schema of its settings.
    """
    cases = []
    for name, (settings, defaults) in types.items():
        reference, schema = schemas[settings]
        vendor = vendors().get(name)
        asked = {"type", "base_url"} if vendor is not None and vendor.fill_in else {"type"}
        filled = {key: value for key, value in defaults.items() if key not in asked}
        required = sorted(({*schema.get("required", ())} - filled.keys()) | asked)
        own = {key: {"default": value} for key, value in filled.items()}
        # Use `allOf`: editors that follow older drafts ignore either a reference or the keys next to it.
        shared = [{"$ref": f"#/$defs/{reference}"}]
        then = {"allOf": shared, "properties": {"type": {"const": name}, **own}, "required": required}
        if vendor is not None:
            then["description"] = vendor.about
        cases.append({"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": then})
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"anyOf": [{"enum": list(types)}, {"type": "string"}]}},
        "allOf": cases,
    }


def _untitled(schema: Any) -> Any:
    """Return `schema` without the titles, which only repeat a name."""
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(part) for name, part in value.items()} if key == "properties" else _untitled(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


def _relaxed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema`, also accepting ``${VAR}`` wherever it would not accept any text."""
    found = {_BOUNDS.get(key, key): value for key, value in schema.items() if not (key == "default" and value is None)}
    for key in ("properties", "patternProperties"):
        if key in found:
            found[key] = {name: _relaxed(part) for name, part in found[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _relaxed(found[key])
    if "anyOf" in found:
        found["anyOf"] = _flat(_relaxed(part) for part in found["anyOf"])
    narrow = found.get("type") in ("number", "integer", "boolean") or found.keys() & {"enum", "const", "pattern"}
    if not narrow:
        return found
    about: dict[str, Any] = {key: found.pop(key) for key in ("description", "default") if key in found}
    return {**about, "anyOf": [found, _REFERENCE]}


def _flat(choices: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `choices` with nested choices flattened and duplicates removed."""
    flat: list[dict[str, Any]] = []
    for choice in choices:
        parts = choice["anyOf"] if choice.keys() == {"anyOf"} else [choice]
        flat += [part for part in parts if part not in flat]
    return flat
