"""Files that only their owner can read, in a folder that git ignores."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create `folder` if it is missing, with mode 0700 and a ``.gitignore``.

    Raises:
        OSError: it cannot be created.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with suppress(OSError):
        (folder / ".gitignore").write_text("*\n")


def append_line(path: Path, data: bytes, *, create: bool = False) -> None:
    """Append `data`, complete lines, to a file with mode 0600, in one write. An earlier cut line stays separate.

    Args:
        path: The file.
        data: The lines, with their newlines.
        create: Whether the file must be new.

    Raises:
        OSError: it cannot be written, or only in part.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_EXCL if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)
