"""Writes a file for the command line: completely or not at all, readable only by its owner."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TypeAlias

Fill: TypeAlias = Callable[[Callable[[bytes], object]], object]
"""Writes the content by calling its argument."""


def write_whole_file(path: Path, fill: Fill) -> None:
    """Write a file under another name next to `path`, and rename it when it is complete.

    A link stays a link: its target is replaced. A device or a pipe is written to directly.

    Raises:
        OSError: it cannot be written.
        ValueError: `path` is invalid.
    """
    if path.exists() and not path.is_file():
        with open(path, "wb") as there:  # noqa: PTH123 - as below
            fill(there.write)
        return
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name[:100]}-{token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123
            fill(file.write)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
