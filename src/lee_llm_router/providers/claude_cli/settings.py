"""Settings of a `claude_cli` provider."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.agents.settings import AgentConfig
from lee_llm_router.settings.fields import BaseUrl, EnvName

READING_TOOLS = ("Read", "Grep", "Glob")


def _check_tools(value: tuple[str, ...]) -> tuple[str, ...]:
    for tool in value:
        if not tool.strip() or "," in tool or not tool.isprintable():
            raise PydanticCustomError("wanted_tool", "a tool is one name, like Read or Bash")
    return value


class ClaudeCLIConfig(AgentConfig):
    """Settings of a `claude_cli` provider."""

    type: str = Field("claude_cli", description="claude_cli")
    command: str = Field("claude", min_length=1, description="The program: a name on PATH, or a path.")
    base_url: BaseUrl | None = Field(
        None, description="Address of a server with a Messages API; /v1 may be left out. Default: Anthropic's service."
    )
    api_key_env: EnvName | None = Field(
        None,
        description="Environment variable that holds the key. Default: none with a base_url, else claude's login.",
    )
    tools: Annotated[tuple[str, ...], AfterValidator(_check_tools)] = Field(
        READING_TOOLS, description="The agent's tools, by claude's names. Default: those that only read."
    )
    permission_mode: Literal["default", "acceptEdits", "dontAsk", "plan", "bypassPermissions"] = Field(
        "default", description="What an agent may do without asking for permission; everything else is refused."
    )
    claude_home: str | None = Field(
        None,
        min_length=1,
        description="Folder with claude's settings, used as it is, including CLAUDE.md and login. Default: a private"
        " one with only your login.",
    )
    reasoning_effort: str | None = Field(
        None, min_length=1, description="How much to think if the call does not say: low, medium, high..."
    )
    extra_config: dict[str, Any] = Field(
        default_factory=dict, description="Further settings of claude, as in its settings.json."
    )
