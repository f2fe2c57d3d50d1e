"""Settings of all programs and of all CLI agents; an agent adds its own by subclassing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lee_llm_router.providers.keys import KeyedConfig
from lee_llm_router.settings.fields import EnvName, Integer, Number
from lee_llm_router.settings.origin import ConfigOrigin


def program_of(written: str, origin: ConfigOrigin) -> str:
    """Return the program that a setting names: a name on PATH stays one, and a path becomes absolute."""
    try:
        return str(origin.path(written).absolute()) if "/" in written else written
    except OSError:  # no home: the lookup of the program reports it
        return written


class ProgramConfig(KeyedConfig):
    """Settings of a provider that runs a program."""

    workspace: str | None = Field(
        None, min_length=1, description="Folder the agent works in. Default: an empty one for each attempt."
    )
    env: tuple[EnvName, ...] = Field(
        (), description="Names of further environment variables to pass on (a few harmless ones always are)."
    )
    term_grace: Number = Field(
        2.0,
        ge=0,
        description="How many seconds before the timeout the agent is asked to end; at the timeout it is killed.",
    )
    max_output_bytes: Annotated[Integer, Field(ge=1024)] = Field(
        1 << 25, description="Most bytes the agent may print; more is a failure. Default: 32 MiB."
    )

    @property
    def program(self) -> str:
        """The program: a name on PATH, or a path."""
        raise NotImplementedError


class AgentConfig(ProgramConfig):
    """Settings that every CLI agent has."""

    command: str = Field("agent", min_length=1, description="The program: a name on PATH, or a path.")
    agent: bool = Field(
        False, description="Give the model the agent's tools: it may then read the disk, run commands and change files."
    )
    paid_ok: bool = Field(
        False,
        description="Let the agent use a key that is in the environment but not named here. Default: it uses only its"
        " login, so a subscription never turns into a bill unnoticed.",
    )

    @property
    def program(self) -> str:
        """The program: a name on PATH, or a path relative to the folder of the configuration."""
        return program_of(self.command, self.origin)
