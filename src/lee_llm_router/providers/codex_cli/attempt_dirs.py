"""The private folders of one attempt, which are removed when it ends.

An agent keeps files in its home, and reads settings and instructions from there and from the user's home. So each
attempt gets homes that hold only what the provider puts there. Any CLI agent needs these folders; in this file only
the texts name codex.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lee_llm_router._util.log import logger
from lee_llm_router.errors import ProviderError


@dataclass(frozen=True, slots=True)
class AttemptDirs:
    """The private folders of one attempt, below a root that only the user may enter."""

    root: Path

    @property
    def home(self) -> Path:
        """The user's home as the agent sees it (HOME)."""
        return self.root / "home"

    @property
    def agent_home(self) -> Path:
        """The agent's home (CODEX_HOME)."""
        return self.root / "agent"

    @property
    def temp(self) -> Path:
        """The folder for temporary files (TMPDIR)."""
        return self.root / "tmp"

    @property
    def work(self) -> Path:
        """An empty working folder."""
        return self.root / "work"

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
    """Create the folders; remove them with everything in them at the end.

    Raises:
        ProviderError: they cannot be created (disk full, no temporary folder). `sent` is False.
    """
    root: Path | None = None
    try:
        try:
            root = Path(tempfile.mkdtemp(prefix="lee-llm-router-codex-"))
            dirs = AttemptDirs(root)
            for folder in (dirs.home, dirs.agent_home, dirs.temp, dirs.work):
                folder.mkdir(mode=0o700)
        except OSError as error:
            raise ProviderError(f"no private folder for codex: {error.strerror or error}", sent=False) from error
        yield dirs
    finally:
        if root is not None:
            _remove(root)


def _remove(root: Path) -> None:
    """Remove a folder, even if an agent left parts of it write-protected."""
    shutil.rmtree(root, ignore_errors=True)
    if not root.exists():
        return
    for folder, _, _ in os.walk(root):
        with suppress(OSError):
            Path(folder).chmod(0o700)
        # os.walk goes top down, so it enters the folder only after this.
    shutil.rmtree(root, ignore_errors=True)
    if root.exists():
        logger.warning("codex_cli: the private folder %s could not be removed", root)
