"""Where a configuration came from: its file, and what the `.env` beside that adds to the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.home_paths import expand_home


@dataclass(frozen=True, slots=True)
class ConfigOrigin:
    """The origin of a configuration, known to those of its models that read paths or variables later.

    All are equal, since models that say the same shall be, wherever they came from.
    """

    file: str | None = field(default=None, compare=False)
    """Absolute path of the file; None for text, a mapping or models made in code."""
    env_file: str | None = field(default=None, compare=False)
    """Path of the `.env` that was read; None if there is none."""
    env_problem: str | None = field(default=None, compare=False)
    """Why the `.env` beside the file was not read."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What the `.env` says. The environment itself goes first."""
    used: frozenset[str] = field(default=frozenset(), compare=False)
    """Names of the variables that the file's references have asked for."""

    @property
    def folder(self) -> str | None:
        """The folder of the file."""
        return None if self.file is None else os.path.dirname(self.file)  # noqa: PTH120

    def variable(self, name: str) -> str | None:
        """Return the value that the variable `name` has now: the environment's, else that of the `.env`."""
        value = os.environ.get(name)
        return self.variables.get(name) if value is None else value

    def environment(self) -> Mapping[str, str]:
        """Return the environment of this moment, with what the `.env` adds to it."""
        return {**self.variables, **os.environ} if self.variables else os.environ

    def path(self, written: str) -> Path:
        """Return the path that a setting names: ``~`` is the home, a relative one starts at the folder of the file.

        Raises:
            OSError: there is no home.
        """
        return Path(self.folder or "", expand_home(written))


NO_ORIGIN = ConfigOrigin()
"""The origin of what no file holds."""
