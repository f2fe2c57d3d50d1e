"""The private folders of one attempt, removed when it ends.

An agent keeps files in its own home, and reads settings and instructions from there and from the user's home. So each
attempt gets private homes, with only what the provider puts there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.child_process.orphans import LENT_NOTE
from lee_llm_router.providers.child_process.owned_folder import owned_folder
from lee_llm_router.providers.child_process.owner_watch import OwnerWatch

PREFIX = "lee-llm-router-agent-"
"""Prefix of the names of all private folders, which are in the temporary folder."""


@dataclass(frozen=True, slots=True)
class AttemptDirs:
    """The private folders of one attempt, below a root that only the user may access."""

    root: Path
    watch: OwnerWatch
    """Ends the child and removes the folders if this process dies."""

    @property
    def home(self) -> Path:
        """The user's home as the agent sees it (HOME)."""
        return self.root / "home"

    @property
    def agent_home(self) -> Path:
        """The agent's own home, where it keeps its settings and its login."""
        return self.root / "agent"

    @property
    def temp(self) -> Path:
        """The folder for temporary files (TMPDIR)."""
        return self.root / "tmp"

    @property
    def work(self) -> Path:
        """An empty working folder."""
        return self.root / "work"

    @property
    def lent_note(self) -> Path:
        """The file that records what was lent to the child."""
        return self.root / LENT_NOTE

    def write(self, name: str, text: str) -> Path:
        """Write a text file below the root and return its path."""
        path = self.root / name
        path.write_text(text, encoding="utf-8", newline="")
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file below the root and return its path."""
        return self.write(name, json.dumps(value))


@contextmanager
def attempt_dirs() -> Iterator[AttemptDirs]:
    """Create the folders; remove them with their contents at the end, even if this process is killed.

    Raises:
        ProviderError: they cannot be created (disk full, no temporary folder). `sent` is False.
    """
    with ExitStack() as stack:
        try:
            root, watch = stack.enter_context(owned_folder(PREFIX))
            dirs = AttemptDirs(root, watch)
            for folder in (dirs.home, dirs.agent_home, dirs.temp, dirs.work):
                folder.mkdir(mode=0o700)
        except OSError as error:
            raise ProviderError(f"no private folder for the agent: {error.strerror or error}", sent=False) from error
        yield dirs
