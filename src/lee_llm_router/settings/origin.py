"""The origin of a configuration: its file, and the variables that the `.env` next to it adds to the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.home_paths import expand_home


@dataclass(frozen=True, slots=True)
class ConfigOrigin:
    """The origin of a configuration, for models that read paths or variables later.

    All origins are equal, so that models with equal settings are equal wherever they came from.
    """

    file: str | None = field(default=None, compare=False)
    """Absolute path of the file; None for text, a mapping or models made in code."""
    env_file: str | None = field(default=None, compare=False)
    """Path of the `.env` that was read; None if there is none."""
    env_problem: str | None = field(default=None, compare=False)
    """Why the `.env` next to the file was not read."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """The variables of the `.env`. The environment itself takes precedence."""
    used: frozenset[str] = field(default=frozenset(), compare=False)
    """Names of the variables that the file's references use."""

    @property
    def folder(self) -> str | None:
        """The folder of the file."""
        return None if self.file is None else os.path.dirname(self.file)  # noqa: PTH120

    def variable(self, name: str) -> str | None:
        """Return the current value of the variable `name`: from the environment, else from the `.env`."""
        value = os.environ.get(name)
        return self.variables.get(name) if value is None else value

    def environment(self) -> Mapping[str, str]:
        """Return the current environment, with the variables that the `.env` adds."""
        return {**self.variables, **os.environ} if self.variables else os.environ

    def path(self, written: str) -> Path:
        """Return the path that a setting names: ``~`` is the home, a relative path starts at the folder of the file.

        Raises:
            OSError: there is no home.
        """
        return Path(self.folder or "", expand_home(written))


NO_ORIGIN = ConfigOrigin()
"""The origin of settings that come from no file."""
