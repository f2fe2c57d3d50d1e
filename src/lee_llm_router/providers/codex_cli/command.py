"""The command line and the environment of one `codex exec`. Pure.

Neither the prompt nor the key is on the command line. The prompt goes to standard input; of the key, only the name of
its variable is passed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROVIDER = "lee_llm_router"
"""Name of the model provider that the command line defines. The built-in `openai` retries and cannot be overridden."""

OPTIONAL_FLAGS = frozenset({
    "--color", "--skip-git-repo-check", "--ephemeral", "--ignore-user-config", "--ignore-rules", "--output-schema",
})  # fmt: skip
"""Flags left out where `codex exec --help` does not list them. The others are always passed because a promise depends
on them (`--sandbox`): a codex that lacks one refuses to run, with a clear error."""

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

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

PASSED_ON = frozenset({
    "PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CODEX_CA_CERTIFICATE", "NODE_EXTRA_CA_CERTS",
})  # fmt: skip
"""Variables passed to the child, together with every ``LC_*``. No others: an agent can read its environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """Everything that determines the command line of one attempt."""

    executable: str
    flags: frozenset[str] | None
    """The flags it knows; None: unknown, so all are used."""
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
        # In this form a name that begins with a dash is still read as a value.
        words.append(f"--model={options.model}")
    known = [word for word in words if _is_known(word.partition("=")[0], options.flags)]
    for key, value in _config(options).items():
        known += ["-c", f"{key}={toml(value)}"]
    return [options.executable, "exec", *known, "--", "-"]


def parse_flags(help_text: str) -> frozenset[str] | None:
    """Return the flags that a help text names; None if it names none, so that it is no help text."""
    return frozenset(_FLAG.findall(help_text)) or None


def child_environment(
    parent: Mapping[str, str], allowed: Sequence[str], own: Mapping[str, str | None], beside: Mapping[str, str]
) -> dict[str, str]:
    """Return the child's whole environment.

    Args:
        parent: The environment to choose from.
        allowed: Names passed on in addition to `PASSED_ON`; they override `own`.
        own: Variables that the provider sets (None: not set).
        beside: What `allowed` may name as well, where `parent` lacks it: the `.env` beside the configuration.
    """
    passed = {name: value for name, value in parent.items() if name in PASSED_ON or name.startswith("LC_")}
    set_here = {name: value for name, value in own.items() if value is not None}
    named = {**beside, **parent} if beside else parent
    return {**passed, **set_here, **{name: named[name] for name in allowed if name in named}}


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
