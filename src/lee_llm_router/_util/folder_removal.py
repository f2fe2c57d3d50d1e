"""Removes a folder, whatever an untrusted program has put into it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(root: Path) -> bool:
    """Remove a folder and all that is in it, and return whether it is gone. Never raises an OSError.

    A folder of any depth is removed with a constant amount of stack, descriptors and path length: folders within
    folders are first moved up to the top. (`shutil.rmtree` recurses, and fails some hundred folders deep.)
    Write-protected folders are made writable. Links are removed, not followed.
    """
    with suppress(OSError):
        top = os.open(root, _OPEN_FOLDER)
        try:
            os.fchmod(top, 0o700)
            _empty(top)
        finally:
            os.close(top)
    with suppress(OSError):
        # Follows no link: a link in the folder's place is no folder.
        root.rmdir()
    return not os.path.lexists(root)


def _empty(top: int) -> None:
    """Remove what the folder `top` holds."""
    # What is moved up comes after the folder it was in, so the list grows until nothing is deep.
    waiting = _remove_files(top)
    while waiting:
        waiting += _flatten(top, waiting.pop())


def _flatten(top: int, name: str) -> list[str]:
    """Remove the folder `name`; return the new names, in `top`, of the folders it held."""
    moved: list[str] = []
    with suppress(OSError):
        os.chmod(name, 0o700, dir_fd=top)
        folder = os.open(name, _OPEN_FOLDER, dir_fd=top)
        try:
            for inner in _remove_files(folder):
                # A folder can be moved only if it is itself writable.
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
