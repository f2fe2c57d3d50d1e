"""What the hooks of an agent receive and return: the run of one attempt, and its command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.response.types import LLMRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """One run of the program, before it starts."""

    request: LLMRequest
    model: str | None
    """The model to use: the request's, or else the settings'."""
    prompt: bytes
    """The result of the hook `prompt`."""
    key: str | None
    """The key that the agent gets; None: it has none, or uses its own login."""
    dirs: AttemptDirs
    executable: str
    """The program, as an absolute path."""
    flags: frozenset[str] | None
    """The flags listed in its help; None: it lists none, so they are unknown."""
    timeout: float
    """Seconds that the whole attempt may take."""

    def knows(self, flag: str) -> bool:
        """Whether the program supports a flag, as far as is known."""
        return self.flags is None or flag in self.flags


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCommand:
    """What to run: the command line, its input, its working folder, and variables for this run only."""

    argv: list[str]
    stdin: bytes
    folder: Path
    request_bytes: int
    """Size of the request: the input, and what is passed in separate files."""
    env: Mapping[str, str] = field(default_factory=dict)
