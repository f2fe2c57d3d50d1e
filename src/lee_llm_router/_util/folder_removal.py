"""Removes a folder, whatever an untrusted program has put into it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(root: Path) -> bool:
    """Remove a folder with its contents, and return whether it is gone. Never raises an OSError.

    It handles any depth with a constant amount of stack, descriptors and path length: it first moves nested folders up
    to the top. (`shutil.rmtree` recurses, and fails some hundred folders deep.) Write-protected folders are made
    writable. Links are removed, not followed.
    """
    with suppress(OSError):
        top = os.open(root, _OPEN_FOLDER)
        try:
            os.fchmod(top, 0o700)
            _empty(top)
        finally:
            os.close(top)
    with suppress(OSError):
        # Does not follow links: a link in the folder's place is not a folder.
        root.rmdir()
    return not os.path.lexists(root)


def _empty(top: int) -> None:
    """Remove the contents of the folder `top`."""
    # Moved folders are appended after their parents, so the list grows until nothing is nested.
    waiting = _remove_files(top)
    while waiting:
        waiting += _flatten(top, waiting.pop())


def _flatten(top: int, name: str) -> list[str]:
    """Remove the folder `name`; return the new names, in `top`, of the folders in it."""
    moved: list[str] = []
    with suppress(OSError):
        os.chmod(name, 0o700, dir_fd=top)
        folder = os.open(name, _OPEN_FOLDER, dir_fd=top)
        try:
            for inner in _remove_files(folder):
                # Only a writable folder can be moved.
                os.chmod(inner, 0o700, dir_fd=folder)
                new_name = f".removed-{os.urandom(12).hex()}"
                os.rename(inner, new_name, src_dir_fd=folder, dst_dir_fd=top)
                moved.append(new_name)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)
    return moved


def _remove_files(folder: int) -> list[str]:
    """Remove all files in a folder; return the names of the folders in it."""
    folders = []
    for name in os.listdir(folder):
        with suppress(OSError):
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                folders.append(name)
            else:
                os.unlink(name, dir_fd=folder)
    return folders
