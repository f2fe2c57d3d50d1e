"""What the hooks of an agent get, and what they give back: the run of one attempt and its command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.response.types import LLMRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """One run of the program, as it is known before it starts."""

    request: LLMRequest
    model: str | None
    """The model asked for: of the request, else of the settings."""
    prompt: bytes
    """What the hook `prompt` gave."""
    key: str | None
    """The key that the agent is handed; None: it has none, or uses its own login."""
    dirs: AttemptDirs
    executable: str
    """The program, as an absolute path."""
    flags: frozenset[str] | None
    """The flags that its help names; None: it names none, so that nothing is known."""
    timeout: float
    """Seconds that the whole attempt may take."""

    def knows(self, flag: str) -> bool:
        """Whether the program takes a flag, as far as is known."""
        return self.flags is None or flag in self.flags


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCommand:
    """What to run: the command line, its input, its working folder, and variables for this run alone."""

    argv: list[str]
    stdin: bytes
    folder: Path
    request_bytes: int
    """Size of the request: the input, and what is passed in files beside it."""
    env: Mapping[str, str] = field(default_factory=dict)
