"""Replaces a file as a whole: readers see the old one or the new one, and a crash leaves one of them."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, seen: os.stat_result | None) -> None:
    """Replace the content of the file `path` by `data`; its mode stays, and if permitted its owner.

    A link stays a link: its target is replaced.

    Args:
        path: The file.
        data: Its new content.
        seen: The file's status when its old content was read; None if there was no file.

    Raises:
        OSError: it cannot be written, or has changed since.
    """
    real = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if seen is not None:
                os.fchmod(file.fileno(), seen.st_mode & 0o7777)
                with suppress(OSError):
                    os.fchown(file.fileno(), seen.st_uid, seen.st_gid)
            else:
                os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        if _look(real) != (None if seen is None else _identity(seen)):
            raise OSError(0, "it has been changed in the meantime")
        os.replace(name, real)  # noqa: PTH105 - both are text
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - it is text
        raise


def _look(path: Path) -> tuple[int, ...] | None:
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        return None


def _identity(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns
