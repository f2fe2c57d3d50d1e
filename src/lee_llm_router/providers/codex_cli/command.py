"""The command line and the environment of one `codex exec`. Pure.

The prompt and the key are in neither: one goes to standard input, the other is a variable whose name alone is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROVIDER = "lee_llm_router"
"""Name of the model provider defined on the command line: the built-in `openai` one takes no overrides, and retries."""

OPTIONAL_FLAGS = frozenset({
    "--color", "--skip-git-repo-check", "--ephemeral", "--ignore-user-config", "--ignore-rules", "--output-schema",
})  # fmt: skip
"""Left out where `codex exec --help` lacks them. The others carry promises (`--sandbox`) and stay: an old codex
then refuses to run, with a clear error."""

# Off for a plain completion (measured: with these, codex 0.169 makes no other connection and shows the model no tools).
_LEAN: Mapping[str, Any] = {
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

# Always: no retries but the router's, no calls home.
_ALWAYS: Mapping[str, Any] = {
    "features.unbounded_connection_retries": False,
    "analytics.enabled": False,
    "check_for_update_on_startup": False,
}

# An agent's commands get the few variables a shell needs, and so never the key.
_AGENT: Mapping[str, Any] = {"shell_environment_policy.inherit": "core"}

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

PASSED_ON = frozenset({
    "PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CODEX_CA_CERTIFICATE", "NODE_EXTRA_CA_CERTS",
})  # fmt: skip
"""Variables the child gets, besides every ``LC_*``. All else stays behind: an agent can read its environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """All that decides the command line of one attempt."""

    executable: str
    flags: frozenset[str] | None
    """The flags it knows; None: not known, all are used."""
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
    """Seconds of silence codex itself would bear."""
    user_config: bool = False
    """Read the config.toml and the rules of the codex home."""
    extra: Mapping[str, Any]


def build_argv(settings: Exec) -> list[str]:
    """The command line; the prompt is read from standard input."""
    words = ["--json", f"--sandbox={settings.sandbox}", f"--cd={settings.folder}", "--color=never"]
    words += ["--skip-git-repo-check", "--ephemeral"]
    if not settings.user_config:
        words += ["--ignore-user-config", "--ignore-rules"]
    if settings.schema is not None:
        words.append(f"--output-schema={settings.schema}")
    if settings.model is not None:
        # With the equals sign, a name that begins with a dash is still a value.
        words.append(f"--model={settings.model}")
    known = [word for word in words if _is_known(word.partition("=")[0], settings.flags)]
    for key, value in _config(settings).items():
        known += ["-c", f"{key}={toml(value)}"]
    return [settings.executable, "exec", *known, "--", "-"]


def parse_flags(help_text: str) -> frozenset[str] | None:
    """The flags a help text names; None if it names none, and so is no help text."""
    return frozenset(_FLAG.findall(help_text)) or None


def child_environment(
    parent: Mapping[str, str], allowed: Sequence[str], own: Mapping[str, str | None]
) -> dict[str, str]:
    """The child's whole environment.

    Args:
        parent: The environment to choose from.
        allowed: Names let through besides `PASSED_ON`; they win over `own`.
        own: What the provider sets itself (None: nothing).
    """
    passed = {name: value for name, value in parent.items() if name in PASSED_ON or name.startswith("LC_")}
    set_here = {name: value for name, value in own.items() if value is not None}
    return {**passed, **set_here, **{name: parent[name] for name in allowed if name in parent}}


def toml(value: Any) -> str:
    """`value` as TOML, on one line: text, numbers, booleans, lists and tables of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_toml_key(str(key))}={toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(toml, value)) + "]"
    return _toml_text(str(value))


def _config(settings: Exec) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "name": PROVIDER,
        "wire_api": "responses",
        "request_max_retries": 0,
        "stream_max_retries": 0,
        "stream_idle_timeout_ms": int(settings.idle_timeout * 1000),
    }
    if settings.base_url is None:
        provider["requires_openai_auth"] = True
    else:
        provider["base_url"] = settings.base_url
        if settings.key_variable is not None:
            provider["env_key"] = settings.key_variable
    config: dict[str, Any] = {"model_provider": PROVIDER, f"model_providers.{PROVIDER}": provider, **_ALWAYS}
    config.update(_AGENT if settings.agent else _LEAN)
    if settings.instructions is not None:
        config["model_instructions_file"] = str(settings.instructions)
    if settings.reasoning_effort is not None:
        config["model_reasoning_effort"] = settings.reasoning_effort
    return {**config, **settings.extra}


def _is_known(flag: str, flags: frozenset[str] | None) -> bool:
    return flags is None or flag not in OPTIONAL_FLAGS or flag in flags


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_text(key)


def _toml_text(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c, c) if c.isprintable() else f"\\U{ord(c):08X}" for c in text) + '"'
