"""Finds the configuration file for the command line."""

from __future__ import annotations

import os
from pathlib import Path

from lee_llm_router.errors import ConfigError

CONFIG_VARIABLE = "LEE_LLM_ROUTER_CONFIG"
CONFIG_NAMES = ("lee-llm-router.yaml", "config/llm.yaml")
"""Names of the file, tried in this order in the current directory and then in each one above it."""


def find_config(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the configuration file to use: `path`, else what LEE_LLM_ROUTER_CONFIG names, else the nearest one upward.

    Raises:
        ConfigError: none is named and none is found, or the current folder is gone.
    """
    named = path or os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named).expanduser()
    try:
        here = Path.cwd()
    except OSError as error:
        raise ConfigError(
            f"no configuration: the current folder cannot be read ({error.strerror}); give --config", sent=False
        ) from error
    for folder in (here, *here.parents):
        for name in CONFIG_NAMES:
            if (folder / name).is_file():
                return folder / name
    raise ConfigError(
        f"no configuration: give --config, set {CONFIG_VARIABLE}, or put {' or '.join(CONFIG_NAMES)} here or in a"
        " folder above (`lee-llm-router template > lee-llm-router.yaml` makes one to start from)",
        sent=False,
    )
