"""Paths that begin with `~`, on machines that may have no home folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class NoHomeError(OSError):
    """A path begins with `~` or `~user`, but that home is unknown.

    This happens in a container that runs as a user id without an entry in its list of users, and without HOME. It is an
    OSError because it means the same: a file cannot be reached.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(errno.ENOENT, "there is no home folder: HOME is not set, and the user has no entry", str(path))


def expand_home(path: str | Path) -> Path:
    """Return `path` with a leading `~` or `~user` replaced by that home folder.

    Raises:
        NoHomeError: that home is unknown. (`Path.expanduser` raises a bare RuntimeError.)
    """
    text = os.fspath(path)
    try:
        # Not Path's method: given text, it would take `./~` for the home as well.
        expanded = os.path.expanduser(text)  # noqa: PTH111
    except ValueError:
        # The user name has a NUL or a lone surrogate, which no system can hold.
        raise NoHomeError(path) from None
    if expanded.startswith("~"):
        raise NoHomeError(path)
    return Path(expanded)
