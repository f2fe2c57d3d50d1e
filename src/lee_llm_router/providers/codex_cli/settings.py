"""Settings of a `codex_cli` provider."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.agents.settings import AgentConfig
from lee_llm_router.settings.fields import BaseUrl, EnvName


def _check_config_keys(value: dict[str, Any]) -> dict[str, Any]:
    for key, one in value.items():
        if not key or "=" in key or not key.isprintable() or key.startswith("-"):
            what = "a key is a dotted path of codex's configuration, like model_verbosity"
            raise PydanticCustomError("wanted_config_key", what)
        if one is None:
            raise PydanticCustomError("wanted_value", "TOML, codex's configuration language, has no null")
    return value


class CodexCLIConfig(AgentConfig):
    """Settings of a `codex_cli` provider."""

    type: str = Field("codex_cli", description="codex_cli")
    command: str = Field("codex", min_length=1, description="The program: a name on PATH, or a path.")
    base_url: BaseUrl | None = Field(
        None, description="Address of a server with a Responses API, including /v1. Default: OpenAI's service."
    )
    api_key_env: EnvName | None = Field(
        None,
        description="Environment variable that holds the key. Default: none with a base_url, else codex's login.",
    )
    sandbox: Literal["read-only", "workspace-write", "danger-full-access"] = Field(
        "read-only", description="What an agent's commands may do."
    )
    codex_home: str | None = Field(
        None,
        min_length=1,
        description="Codex home, used as it is, including AGENTS.md. Default: a private one with only your login.",
    )
    reasoning_effort: str | None = Field(
        None, min_length=1, description="How much to think if the call does not say: low, medium, high..."
    )
    extra_config: Annotated[dict[str, Any], AfterValidator(_check_config_keys)] = Field(
        default_factory=dict,
        description="Further settings of codex, by dotted path. They are visible in the process list.",
    )
