"""The command `trace path`: where the traces are."""

from __future__ import annotations

import os
import sys

from lee_llm_router.cli.arguments import ConfigOption
from lee_llm_router.cli.output import escaped, write_line
from lee_llm_router.cli.trace.reading import FolderOption, store_path, trace_store


def path(folder: FolderOption = None, config: ConfigOption = None) -> None:
    """Print only the path of the traces: the folder of daily files, or the file of a database.

    It need not exist yet.
    """
    from lee_llm_router.errors import ConfigError  # noqa: PLC0415 - help needs none of it

    place = store_path(trace_store(folder, config))
    if place is None:
        raise ConfigError("this store names no file or folder for its traces")
    text = os.fspath(place)
    # A script gets the bytes of the path, a terminal its printable form.
    write_line(escaped(text) if sys.stdout.isatty() else text)
