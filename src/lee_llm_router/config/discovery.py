"""Finds the configuration file for the command line."""

from __future__ import annotations

import os
from pathlib import Path

from lee_llm_router._util.home_paths import NoHomeError, expand_home
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.config.ownership import reason_for_distrust, trusted_owners
from lee_llm_router.errors import ConfigError

CONFIG_VARIABLE = "LEE_LLM_ROUTER_CONFIG"
CONFIG_NAMES = ("lee-llm-router.yaml", "config/llm.yaml")
"""Names of the file, tried in this order in the current directory and then in each parent."""


def find_config(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the configuration file: `path`, else the one named by LEE_LLM_ROUTER_CONFIG, else the nearest one upward.

    A named file is used whoever owns it. A file that was only found is used if no stranger can have written it; see
    `ownership`.

    Raises:
        ConfigError: none is named and none is found, or a stranger can have written the nearest one.
    """
    named = path or os.environ.get(CONFIG_VARIABLE)
    if named:
        try:
            return expand_home(Path(named))
        except NoHomeError as error:
            raise ConfigError(f"the configuration {bounded(str(named))}: {error.strerror}", sent=False) from None
    try:
        here = Path.cwd()
    except OSError as error:
        raise ConfigError(
            f"no configuration: the current folder cannot be read ({error.strerror}); give --config", sent=False
        ) from error
    for folder in (here, *here.parents):
        for name in CONFIG_NAMES:
            found = folder / name
            # `Path.is_file` raises if a folder may not be read.
            if os.path.isfile(found):  # noqa: PTH113
                _refuse_distrusted(found)
                return found
    raise ConfigError(
        f"no configuration: give --config, set {CONFIG_VARIABLE}, or put {' or '.join(CONFIG_NAMES)} here or in a"
        " folder above (`lee-llm-router init` writes one from the keys that are set; `complete --target` needs none)",
        sent=False,
    )


def _refuse_distrusted(found: Path) -> None:
    try:
        reason = reason_for_distrust(found, trusted_owners())
    except OSError as error:
        reason = f"it cannot be inspected ({error.strerror})"
    if reason is not None:
        raise ConfigError(
            f"the configuration {bounded(str(found))} was found but is not used: {reason}. If you trust it, name it"
            f" with --config, or set {CONFIG_VARIABLE}",
            sent=False,
        )
