"""The command line of one `codex exec`. Pure.

Neither the prompt nor the key is on the command line. The prompt goes to standard input; the command line has only the
name of the key's variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lee_llm_router._util.data_class import dataclass

PROVIDER = "lee_llm_router"
"""Name of the model provider that the command line defines. The built-in `openai` retries and cannot be overridden."""

OPTIONAL_FLAGS = frozenset({
    "--color", "--skip-git-repo-check", "--ephemeral", "--ignore-user-config", "--ignore-rules", "--output-schema",
})  # fmt: skip
"""Flags left out if `codex exec --help` does not list them."""
NEEDED_FLAGS = frozenset({"--json", "--sandbox", "--cd", "--model", "--config"})
"""Flags always passed because a promise depends on them: a codex that lacks one refuses to run, with a clear error."""

# For a plain completion. Measured: with these, codex 0.169 opens no other connection and offers the model no tools.
_COMPLETION_SETTINGS: Mapping[str, Any] = {
    **{
        f"features.{name}": False
        for name in ("plugins", "apps", "shell_snapshot", "shell_tool", "unified_exec", "view_image", "multi_agent",
                     "goals", "hooks")
    },
    "web_search": "disabled",
    "skills.bundled.enabled": False,
    "include_permissions_instructions": False,
    "include_apps_instructions": False,
    "include_collaboration_mode_instructions": False,
    "include_environment_context": False,
    "project_doc_max_bytes": 0,
    "tools.experimental_request_user_input.enabled": False,
    "shell_environment_policy.inherit": "none",
}  # fmt: skip

# For every run. Only the router retries, and codex sends nothing home.
_COMMON_SETTINGS: Mapping[str, Any] = {
    "features.unbounded_connection_retries": False,
    "analytics.enabled": False,
    "check_for_update_on_startup": False,
}

# For an agent. Its commands get only the few variables a shell needs, so never the key.
_AGENT_SETTINGS: Mapping[str, Any] = {"shell_environment_policy.inherit": "core"}

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """Everything that determines the command line of one attempt."""

    executable: str
    flags: frozenset[str] | None
    """The flags it supports; None: unknown, so all are used."""
    agent: bool
    sandbox: str
    folder: Path
    model: str | None = None
    base_url: str | None = None
    key_variable: str | None = None
    """The variable that holds the key for `base_url`."""
    instructions: Path | None = None
    schema: Path | None = None
    reasoning_effort: str | None = None
    idle_timeout: float = 600.0
    """Seconds without data after which codex itself gives up."""
    user_config: bool = False
    """Whether codex reads the config.toml and the rules of its home."""
    extra: Mapping[str, Any]


def build_argv(options: ExecOptions) -> list[str]:
    """Return the command line. It tells codex to read the prompt from standard input."""
    words = ["--json", f"--sandbox={options.sandbox}", f"--cd={options.folder}", "--color=never"]
    words += ["--skip-git-repo-check", "--ephemeral"]
    if not options.user_config:
        words += ["--ignore-user-config", "--ignore-rules"]
    if options.schema is not None:
        words.append(f"--output-schema={options.schema}")
    if options.model is not None:
        # In this form a name with a leading dash is still read as a value.
        words.append(f"--model={options.model}")
    known = [word for word in words if _is_known(word.partition("=")[0], options.flags)]
    for key, value in _config(options).items():
        known += ["-c", f"{key}={toml(value)}"]
    return [options.executable, "exec", *known, "--", "-"]


def toml(value: Any) -> str:
    """Return `value` as TOML on one line: text, a number, a boolean, or lists and tables of these."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_toml_key(str(key))}={toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(toml, value)) + "]"
    return _toml_text(str(value))


def _config(options: ExecOptions) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "name": PROVIDER,
        "wire_api": "responses",
        "request_max_retries": 0,
        "stream_max_retries": 0,
        "stream_idle_timeout_ms": int(options.idle_timeout * 1000),
    }
    if options.base_url is None:
        provider["requires_openai_auth"] = True
    else:
        provider["base_url"] = options.base_url
        if options.key_variable is not None:
            provider["env_key"] = options.key_variable
    config: dict[str, Any] = {"model_provider": PROVIDER, f"model_providers.{PROVIDER}": provider, **_COMMON_SETTINGS}
    config.update(_AGENT_SETTINGS if options.agent else _COMPLETION_SETTINGS)
    if options.instructions is not None:
        config["model_instructions_file"] = str(options.instructions)
    if options.reasoning_effort is not None:
        config["model_reasoning_effort"] = options.reasoning_effort
    return {**config, **options.extra}


def _is_known(flag: str, flags: frozenset[str] | None) -> bool:
    return flags is None or flag not in OPTIONAL_FLAGS or flag in flags


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_text(key)


def _toml_text(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c, c) if c.isprintable() else f"\\U{ord(c):08X}" for c in text) + '"'
