"""A file lent to a child process as a copy, kept in sync with the original while both exist.

A child may renew what is in its copy (a login), and that can make the original worthless. So a renewed copy replaces
the original at once, not only after the child has ended: others may be waiting for it, and this process may be killed.
An emptied copy replaces nothing. If somebody else renews the original, the copy follows.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.regular_files import read_regular_file

MAX_BYTES = 1 << 20
"""Size in bytes of the largest file that can be lent."""

# The folder refuses to replace the file if the file is itself a mount (EBUSY, EXDEV), or if the folder is
# write-protected. Other errors, such as a full disk, would also break a file written in place.
_REFUSED = {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS}


class LentFile:
    """A lent file: the original, the copy, and what both held when they were last in sync.

    Args:
        original: The file to lend.
        copy: The path of its copy, in a folder of the child.
        note: A file with what `return_noted` needs if this process ends before the child.
        content: The content of the original: a JSON object, like any content that is accepted later.
    """

    def __init__(self, original: Path, copy: Path, note: Path, content: bytes) -> None:
        self.original = original
        self.copy = copy
        self.content = content
        self.is_renewed = False
        """Whether the copy was renewed, and the original with it."""
        self._note = note
        self._seen: tuple[object, object] = (None, None)
        self._refused: bytes | None = None
        _write_private(copy, content)
        self._write_note()

    def sync(self, *, look_closely: bool = False) -> None:
        """If original or copy has changed, bring both to the same content.

        Args:
            look_closely: Read both even if their sizes and times are unchanged.

        Raises:
            OSError: a renewed copy cannot be kept. Raised once per content.
        """
        seen = (_stamp(self.copy), _stamp(self.original))
        if seen == self._seen and not look_closely:
            return
        self._seen = seen
        mine = _read_object(self.copy, follow=False)
        theirs = _read_object(self.original)
        if mine is not None and mine not in (self.content, self._refused):
            if theirs != self.content or not _renews(mine, theirs):
                return
            self._refused = mine
            replace_content(self.original, mine)
            self.content, self._refused, self.is_renewed = mine, None, True
            self._write_note()
        elif mine == self.content and theirs is not None and theirs != self.content:
            # Best effort: the child continues with what it has.
            with suppress(OSError):
                _replace(self.copy, theirs)
                self.content = theirs
                self._write_note()

    def _write_note(self) -> None:
        digest = hashlib.sha256(self.content).hexdigest()
        paths = {"original": os.fsdecode(self.original), "copy": os.fsdecode(self.copy)}
        _write_private(self._note, json.dumps({**paths, "sha256": digest}).encode())


def is_being_renewed(note: Path) -> bool:
    """Whether an orphaned child may be renewing its copy: the copy is unchanged, and a program claims its renewal.

    The program is that child, which has inherited the claim (see `agents.login`), or another whose renewal is as good.
    """
    with suppress(OSError, ValueError, TypeError, KeyError):
        noted = json.loads(read_regular_file(note, MAX_BYTES, follow=False))
        mine = _read_object(Path(noted["copy"]), follow=False)
        if mine is None or hashlib.sha256(mine).hexdigest() == noted["sha256"]:
            with FileLock(Path(noted["original"])) as lock:
                return lock.is_held_by_another
    return False


def return_noted(note: Path) -> None:
    """Do what `LentFile.sync` would have done for an owner that is gone: keep a renewed copy. Never raises OSError."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        noted = json.loads(read_regular_file(note, MAX_BYTES, follow=False))
        original = Path(noted["original"])
        mine = _read_object(Path(noted["copy"]), follow=False)
        theirs = _read_object(original)
        if mine is None or theirs is None or mine == theirs:
            return
        if hashlib.sha256(theirs).hexdigest() == noted["sha256"] and _renews(mine, theirs):
            replace_content(original, mine)


def replace_content(path: Path, content: bytes) -> None:
    """Replace a file's content: by renaming if the folder allows that, otherwise in place.

    Follows links: a link to a file kept elsewhere stays a link.

    Raises:
        OSError: it cannot be written.
    """
    target = path.resolve()
    try:
        _replace(target, content)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        with target.open("r+b") as file:
            file.write(content)
            file.truncate()


def _replace(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read_object(path: Path, *, follow: bool = True) -> bytes | None:
    """Return the content of a file that holds a JSON object; None if it does not, or not yet."""
    try:
        content = read_regular_file(path, MAX_BYTES, follow=follow)
        return content if isinstance(json.loads(content.decode()), dict) else None
    except (OSError, ValueError, RecursionError):
        return None


def _renews(mine: bytes, theirs: bytes) -> bool:
    """Whether the object `mine` has texts where `theirs` has, so that replacing `theirs` loses nothing.

    Single names may be missing: another version of the child may not know them.
    """
    new, old = json.loads(mine), json.loads(theirs)
    parts = [name for name, value in old.items() if isinstance(value, dict) and _has_text(value)]
    if parts:
        return all(isinstance(new.get(name), dict) and _has_text(new[name]) for name in parts)
    return not _has_text(old) or any(_is_text(new.get(name)) for name, value in old.items() if _is_text(value))


def _has_text(part: dict[str, object]) -> bool:
    return any(map(_is_text, part.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""
