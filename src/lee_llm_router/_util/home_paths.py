"""Paths that begin with `~`, on machines where there may be no home folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class NoHomeError(OSError):
    """A path begins with `~` or `~user`, and nothing says where that home is.

    So it is in a container that runs under a number without an entry in its list of users, and without HOME. It is an
    OSError because it concerns the same places: a file that cannot be reached.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(errno.ENOENT, "there is no home folder: HOME is not set, and the user has no entry", str(path))


def expand_home(path: str | Path) -> Path:
    """Return `path` with a leading `~` or `~user` replaced by that home folder.

    Raises:
        NoHomeError: nothing says where that home is. (`Path.expanduser` raises a bare RuntimeError.)
    """
    text = os.fspath(path)
    try:
        # Not the method of Path: given text, it would take `./~` for the home as well.
        expanded = os.path.expanduser(text)  # noqa: PTH111
    except ValueError:
        # A user's name that no system can hold, with a NUL or a lone surrogate in it.
        raise NoHomeError(path) from None
    if expanded.startswith("~"):
        raise NoHomeError(path)
    return Path(expanded)
