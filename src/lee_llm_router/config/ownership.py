"""Says whether a file that nobody named may be used: only if no stranger can have written it.

Git has the same rule for repositories that it finds above the current directory. A configuration names programs to run,
servers to call and variables to send, so a file that a stranger has put into a parent folder would act in your name.

Trusted are your own user, root (who could replace this program as well), and, if root acts for somebody through
``sudo``, that user. The file, each link on the way to it and the folders of both must belong to one of them. Neither
the file nor a folder may be writable by everybody, except a folder in which users may only replace their own files
(``/tmp``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

_MAX_LINKS = 40
_MAX_UID = 2**32 - 1


def trusted_owners() -> frozenset[int]:
    """Return the users whose files may be used without being named."""
    own = os.geteuid()
    behind_sudo = os.environ.get("SUDO_UID", "") if own == 0 else ""
    if behind_sudo.isascii() and behind_sudo.isdecimal() and len(behind_sudo) <= 10 and int(behind_sudo) < _MAX_UID:
        return frozenset({0, own, int(behind_sudo)})
    return frozenset({0, own})


def reason_for_distrust(path: Path, owners: Collection[int]) -> str | None:
    """Return why the file at the absolute `path` may be used only if named, as the end of a sentence; else None.

    Raises:
        OSError: the file cannot be examined.
    """
    try:
        real = _followed(path, owners)
    except _DistrustedLinkError as link:
        return str(link)
    info = real.stat()
    if not stat.S_ISREG(info.st_mode):
        return "it is not a plain file"
    if info.st_uid not in owners:
        return f"it belongs to user {info.st_uid}"
    if info.st_mode & stat.S_IWOTH:
        return "everybody can write to it"
    return _problem_of_folder(path.parent, owners) or _problem_of_folder(real.parent, owners)


def _problem_of_folder(folder: Path, owners: Collection[int]) -> str | None:
    info = folder.stat()
    if info.st_uid not in owners:
        return f"its folder belongs to user {info.st_uid}"
    if info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX:
        return "everybody can write to its folder"
    return None


class _DistrustedLinkError(Exception):
    pass


def _followed(path: Path, owners: Collection[int]) -> Path:
    """Return the target of `path`. Each link on the way must belong to one of `owners`."""
    here, names, links = Path(path.anchor), list(reversed(path.parts[1:])), 0
    while names:
        name = names.pop()
        if name == "..":
            here = here.parent
            continue
        step = here / name
        info = step.lstat()
        if not stat.S_ISLNK(info.st_mode):
            here = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise _DistrustedLinkError("it is a broken link")
        if info.st_uid not in owners:
            raise _DistrustedLinkError(f"a link to it belongs to user {info.st_uid}")
        target = step.readlink()
        if target.is_absolute():
            here = Path(target.anchor)
        names += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return here
