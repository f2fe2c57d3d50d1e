"""Settings of a `codex_cli` provider."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.keys import KeyedConfig
from lee_llm_router.settings.fields import BaseUrl, EnvName, Integer, Number


def _check_config_keys(value: dict[str, Any]) -> dict[str, Any]:
    for key, one in value.items():
        if not key or "=" in key or not key.isprintable() or key.startswith("-"):
            what = "a key is a dotted path of codex's configuration, like model_verbosity"
            raise PydanticCustomError("wanted_config_key", what)
        if one is None:
            raise PydanticCustomError("wanted_value", "TOML, codex's configuration language, has no null")
    return value


class CodexCLIConfig(KeyedConfig):
    """Settings of a `codex_cli` provider."""

    type: str = Field("codex_cli", description="codex_cli")
    command: str = Field("codex", min_length=1, description="The program: a name on PATH, or a path.")
    base_url: BaseUrl | None = Field(
        None, description="Address of a server with a Responses API, up to and with /v1. Default: OpenAI's service."
    )
    api_key_env: EnvName | None = Field(
        None,
        description="Environment variable that holds the key. Default: none for a base_url, else codex's login.",
    )
    agent: bool = Field(
        False, description="Give the model codex's tools: it may then read the disk, run commands and change files."
    )
    sandbox: Literal["read-only", "workspace-write", "danger-full-access"] = Field(
        "read-only", description="What an agent's commands may do."
    )
    workspace: str | None = Field(
        None, min_length=1, description="Folder codex works in. Default: an empty one, for each attempt."
    )
    codex_home: str | None = Field(
        None,
        min_length=1,
        description="Codex home to use as it is, AGENTS.md included. Default: a private one with your login alone.",
    )
    env: tuple[EnvName, ...] = Field(
        (), description="Further environment variables to pass on, by name (a few harmless ones always are)."
    )
    reasoning_effort: str | None = Field(
        None, min_length=1, description="How much to think where the call does not say: low, medium, high..."
    )
    extra_config: Annotated[dict[str, Any], AfterValidator(_check_config_keys)] = Field(
        default_factory=dict,
        description="Further settings of codex, by dotted path. They are visible in the list of processes.",
    )
    term_grace: Number = Field(
        2.0, ge=0, description="Seconds before the timeout at which codex is asked to end, before it is killed."
    )
    max_output_bytes: Annotated[Integer, Field(ge=1024)] = Field(
        1 << 25, description="Bytes codex may print; more is a failure. Default 32 MiB."
    )
