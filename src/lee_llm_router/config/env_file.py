"""The `.env` next to a configuration: variables for its references and keys. It does not change the environment.

It is read by python-dotenv, and only if no stranger can have written it: the same rule as for a configuration that was
found (`ownership`). The owner of the configuration is not a stranger, since that file was trusted. References inside it
are not expanded: a few lines that each double the last would fill the memory.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.log import logger
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router._util.small_files import read_small_file
from lee_llm_router.config.ownership import reason_for_distrust, trusted_owners

ENV_FILE = ".env"

MAX_ENV_BYTES = 65_536
"""The largest `.env` that is read, in bytes."""

# python-dotenv scans a run of white space again from each of its characters.
_LONG_BLANK = late_pattern(r"[^\S\r\n]{256}")


class EnvFile(NamedTuple):
    """A `.env`: its content, or why it was not read."""

    path: str
    variables: Mapping[str, str]
    problem: str | None = None


def read_env_file(config_file: str) -> EnvFile | None:
    """Return the `.env` next to `config_file`, an absolute path; None if there is none.

    The configuration itself need not exist yet.
    """
    path = Path(config_file).parent / ENV_FILE
    # A folder with that name is a virtual environment.
    if not os.path.lexists(path) or os.path.isdir(path):  # noqa: PTH112
        return None
    try:
        owners = trusted_owners()
        with suppress(FileNotFoundError):
            owners |= {Path(config_file).stat().st_uid}
        problem = reason_for_distrust(path, owners)
        if problem is None:
            return EnvFile(str(path), _parsed(read_small_file(path, MAX_ENV_BYTES)[0]))
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except ValueError as error:
        problem = str(error)
    logger.warning("%s is not read: %s", bounded(str(path)), problem)
    return EnvFile(str(path), {}, problem)


def _parsed(data: bytes) -> Mapping[str, str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    if "\0" in text or _LONG_BLANK.search(text):
        raise ValueError("it holds a NUL, or a very long run of spaces")
    from dotenv import dotenv_values  # noqa: PLC0415 - most configurations have no such file

    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in found.items() if value is not None}
