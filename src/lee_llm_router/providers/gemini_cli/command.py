"""The command line of one run of gemini, and its settings.json. Pure.

The command line contains neither the prompt nor the key. The options of a call go into the settings, where gemini
accepts any field of the API's `GenerationConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.response.types import LLMRequest

NEEDED_FLAGS = frozenset({"--output-format", "--skip-trust", "--approval-mode", "--extensions", "--model"})
"""Flags without which a promise would break."""
OPTIONAL_FLAGS = frozenset({"--raw-output", "--accept-raw-output-risk"})
"""Flags left out if `gemini --help` does not list them: without these, gemini removes escape sequences from an
answer."""
RECORD_FLAG = "--record-responses"
"""Writes the service's responses to a file. Gemini's manual lists it, its help does not. Only these responses tell why
an answer ended: gemini takes one that was cut off or filtered for a complete one."""

_EFFORT_BUDGETS = {
    "none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576,
}  # fmt: skip
"""Tokens of thought for the 2.5 models, which take a number."""
_LEAST_OF_PRO = 128
"""The 2.5 models named "pro" always think."""
_EFFORT_LEVELS = {
    "none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH",
    "max": "HIGH",
}  # fmt: skip
_FIELDS = {
    "temperature": "temperature", "top_p": "topP", "top_k": "topK", "max_tokens": "maxOutputTokens", "seed": "seed",
    "frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty",
}  # fmt: skip

_CONTEXT = {"fileFiltering": {"enableRecursiveFileSearch": False}}
"""Without it, gemini searches the whole workspace for a name after an ``@`` in the prompt."""

EXPRESSED = frozenset({*_FIELDS, "stop"})
"""Options of a call that reach the model, although gemini has no flags for them."""

# The keywords of JSON Schema that the API reads (Gemini API reference, `GenerationConfig.responseJsonSchema`).
_SCHEMA_KEYWORDS = frozenset({
    "$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems",
    "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required",
})  # fmt: skip
_SCHEMA_NOTES = frozenset({"default", "examples", "$schema", "$comment", "deprecated", "readOnly", "writeOnly"})
_MAX_SCHEMA_DEPTH = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Everything that determines the command line of one run."""

    executable: str
    flags: frozenset[str] | None
    """The flags it supports; None: unknown, so all are used."""
    approval: str
    record: Path
    model: str | None


def build_argv(options: RunOptions) -> list[str]:
    """Return the command line. Gemini reads the prompt from standard input because that is not a terminal."""
    words = ["--output-format=stream-json", f"--approval-mode={options.approval}", "--skip-trust", "--extensions=none"]
    words.append(f"{RECORD_FLAG}={options.record}")
    words += sorted(flag for flag in OPTIONAL_FLAGS if options.flags is None or flag in options.flags)
    if options.model is not None:
        # In this form a name with a leading dash is still read as a value.
        words.append(f"--model={options.model}")
    return [options.executable, *words]


def settings_document(
    request: LLMRequest, *, model: str | None, agent: bool, login: bool, effort: str | None,
    schema: Mapping[str, Any] | None, extra: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return the settings.json of a run.

    Args:
        request: The request.
        model: The model asked for.
        agent: Whether gemini has its tools.
        login: Whether it runs with the user's login instead of a key.
        effort: How much to think.
        schema: The JSON Schema for the service to enforce; None: none, or one that it cannot enforce.
        extra: Settings of the user, which take precedence.
    """
    general = {
        # Only the router retries.
        "maxAttempts": 1, "retryFetchErrors": False, "enableAutoUpdate": False, "enableAutoUpdateNotification": False,
        "disableAutoUpdate": True, "checkpointing": {"enabled": False}, "sessionRetention": {"enabled": False},
    }  # fmt: skip
    document: dict[str, Any] = {
        "general": general,
        "security": {"auth": {"selectedType": "oauth-personal" if login else "gemini-api-key"}},
        "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False},
        # A repetitive answer is still an answer; and no model needs to say who speaks next.
        "model": {"disableLoopDetection": True, "skipNextSpeakerCheck": True},
        "hooksConfig": {"enabled": False},
        "advanced": {"autoConfigureMemory": False, "ignoreLocalEnv": True},
        "ide": {"enabled": False},
        "context": _CONTEXT,
    }
    if not agent:
        document |= {
            "tools": {"core": []},
            "skills": {"enabled": False},
            "experimental": {"enableAgents": False},
            # Without a boundary, gemini does not look for the GEMINI.md of a repository above the private folder.
            "context": {"includeDirectoryTree": False, "memoryBoundaryMarkers": [], **_CONTEXT},
        }
    if generation := _generation(request, model, effort, schema, agent=agent):
        override = {"match": {"overrideScope": "core"}, "modelConfig": {"generateContentConfig": generation}}
        document["modelConfigs"] = {"overrides": [override]}
    return _merged(document, extra)


def service_schema(schema: Any, depth: int = 0) -> dict[str, Any] | None:
    """Return a JSON Schema for the service, without notes; None if it has a rule that the service ignores."""
    if not isinstance(schema, Mapping) or depth > _MAX_SCHEMA_DEPTH:
        return None
    rules = {name: value for name, value in schema.items() if name not in _SCHEMA_NOTES}
    if "const" in rules:
        rules["enum"] = [rules.pop("const")]
    if not rules.keys() <= _SCHEMA_KEYWORDS:
        return None
    taken = {name: _service_rule(name, value, depth + 1) for name, value in rules.items()}
    return None if None in taken.values() else taken


def _service_rule(name: str, value: Any, depth: int) -> Any:
    if name in ("items", "additionalProperties"):
        return value if isinstance(value, bool) else service_schema(value, depth)
    if name in ("properties", "$defs"):
        by_name = (
            {key: service_schema(one, depth) for key, one in value.items()} if isinstance(value, Mapping) else None
        )
        return None if by_name is None or None in by_name.values() else by_name
    if name in ("anyOf", "oneOf", "prefixItems"):
        each = [service_schema(one, depth) for one in value] if isinstance(value, list) else [None]
        return None if None in each else each
    return value


def _generation(
    request: LLMRequest, model: str | None, effort: str | None, schema: Mapping[str, Any] | None, *, agent: bool
) -> dict[str, Any]:
    """Return the fields of the API's `GenerationConfig` for the options of a call."""
    fields = {theirs: value for ours, theirs in _FIELDS.items() if (value := getattr(request, ours)) is not None}
    if request.stop:
        fields["stopSequences"] = list(request.stop)
    if request.wants_json and not agent and (schema is not None or request.schema is None):
        fields["responseMimeType"] = "application/json"
        if schema is not None:
            fields["responseJsonSchema"] = dict(schema)
    if effort is not None:
        fields["thinkingConfig"] = _thinking(effort, model or "")
    return fields


def _thinking(effort: str, model: str) -> dict[str, Any]:
    if "2.5" not in model:
        return {"thinkingLevel": _EFFORT_LEVELS.get(effort, effort.upper())}
    if effort.isdecimal():
        return {"thinkingBudget": int(effort)}
    budget = _EFFORT_BUDGETS.get(effort, -1)
    return {"thinkingBudget": max(budget, _LEAST_OF_PRO) if "pro" in model and budget >= 0 else budget}


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(ours)
    for name, value in theirs.items():
        mine = merged.get(name)
        both = isinstance(mine, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(mine, value) if both else value  # type: ignore[arg-type]
    return merged
