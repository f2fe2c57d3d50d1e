"""Tells from the number of a system error what this machine has run out of: such a failure is nobody else's fault."""

from __future__ import annotations

import errno
import socket

_LACKING = {
    errno.EMFILE: "file descriptors (of this process: see `ulimit -n`)",
    errno.ENFILE: "file descriptors (of all processes)",
    errno.ENOBUFS: "buffers for the network",
    errno.ENOMEM: "memory",
    errno.ENOSPC: "space on a disk",
    errno.EDQUOT: "space on a disk (the user's quota)",
    errno.EAGAIN: "threads or processes",
}


def lacking(error: BaseException | None) -> str | None:
    """Return what this machine has run out of, as words after "out of"; None if `error` does not say.

    An error that was raised from such an error counts too.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, socket.gaierror):
            return "memory" if error.errno == socket.EAI_MEMORY else None
        if isinstance(error, OSError) and error.errno in _LACKING:
            return _LACKING[error.errno]
        error = error.__cause__
    return None
