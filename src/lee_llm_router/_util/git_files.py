"""Determines from git's own files whether git tracks or ignores a file.

It does not run git: a repository's settings may name programs that git runs in answer to any command. Git's files may
also come from anybody, so reading them never waits, and never takes long.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from lee_llm_router._util.small_files import read_head, read_small_file

_MAX_INDEX = 64_000_000
_MAX_POINTER = 4096
_MAX_RULES = 50_000
"""Bytes to read of a list of rules."""
_ENTRY = 62
"""Bytes of an index entry before its name, with SHA-1."""


def repository_of(path: Path) -> Path | None:
    """Return the top folder of the repository that contains `path`; None if there is none."""
    return next((folder for folder in path.absolute().parents if (folder / ".git").exists()), None)


def is_tracked(path: Path) -> bool:
    """Whether git has `path`, or a file below it, in its index; False also if unknown."""
    path = path.absolute()
    top = repository_of(path)
    if top is None:
        return False
    with suppress(OSError, ValueError, IndexError):
        name = os.fsencode(path.relative_to(top).as_posix())
        index = _git_folder(top) / "index"
        info = index.stat()
        return any(
            known == name or known.startswith(name + b"/")
            for known in _names(str(index), info.st_mtime_ns, info.st_size)
        )
    return False


def is_ignored(path: Path) -> bool:
    """Whether a rule of git ignores `path`: in a `.gitignore` above it, or in the repository's own list."""
    path = path.absolute()
    top = repository_of(path)
    if top is None:
        return False
    ignored = False
    for base, rule in _rules(top, path):
        verdict = _verdict(rule, path.relative_to(base).parts)
        ignored = ignored if verdict is None else verdict
    return ignored


def _git_folder(top: Path) -> Path:
    """Return the folder with the index, which is elsewhere for a worktree."""
    entry = top / ".git"
    if entry.is_dir():
        return entry
    text = read_small_file(entry, _MAX_POINTER)[0].decode(errors="replace")
    return top / text.removeprefix("gitdir:").strip()


@lru_cache(maxsize=4)
def _names(index: str, _changed: int, _size: int) -> tuple[bytes, ...]:
    """Return the names in an index, in git's `index-format` (versions 2 to 4)."""
    data, _ = read_small_file(index, _MAX_INDEX)
    if data[:4] != b"DIRC":
        return ()
    version, count = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    names: list[bytes] = []
    at, last = 12, b""
    for _ in range(count):
        flags = int.from_bytes(data[at + 60 : at + 62], "big")
        start = at + _ENTRY + (2 if flags & 0x4000 else 0)
        if version >= 4:
            cut, start = _variable_integer(data, start)
            end = data.index(b"\0", start)
            last = last[: len(last) - cut] + data[start:end]
            at = end + 1
        else:
            end = data.index(b"\0", start)
            last = data[start:end]
            at += (end - at + 8) // 8 * 8
        names.append(last)
    return tuple(names)


def _variable_integer(data: bytes, at: int) -> tuple[int, int]:
    """Return a number in git's encoding of offsets, and its end."""
    value = data[at] & 127
    while data[at] & 128:
        at += 1
        value = ((value + 1) << 7) | (data[at] & 127)
    return value, at + 1


def _rules(top: Path, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the rules that may apply to `path`, the weakest first, each with the folder that it starts from."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - raises nothing
    lists = [(top, Path(home) / "git" / "ignore")]
    with suppress(OSError):
        lists.append((top, _git_folder(top) / "info" / "exclude"))
    folders = [folder for folder in reversed(path.parents) if folder == top or top in folder.parents]
    lists += [(folder, folder / ".gitignore") for folder in folders]
    for base, file in lists:
        with suppress(OSError, ValueError):
            text = read_head(file, _MAX_RULES)[0].decode(errors="replace")
            yield from ((base, line) for line in text.splitlines())


def _verdict(rule: str, parts: tuple[str, ...]) -> bool | None:
    """Return whether `rule` ignores (True) or re-includes (False) the path `parts`; None if it does not apply."""
    rule = rule.rstrip()
    if not rule or rule.startswith("#"):
        return None
    taken_back = rule.startswith("!")
    rule = rule.removeprefix("!").removeprefix("\\")
    for length in range(1, len(parts) + 1):
        is_folder = length < len(parts)
        if (is_folder or not rule.endswith("/")) and _matches(rule.rstrip("/"), parts[:length]):
            return not taken_back
    return None


def _matches(rule: str, parts: tuple[str, ...]) -> bool:
    if "/" not in rule:
        return fnmatchcase(parts[-1], rule)
    steps = rule.removeprefix("/").split("/")
    if steps[-1] == "**":  # at the end it means the contents, and not the folder itself
        steps.append("*")
    # The numbers of steps that the parts so far may have used up; `**` stands for any number of parts.
    reached = _past_stars(steps, {0})
    for part in parts:
        matched = {at + 1 for at in reached if at < len(steps) and steps[at] != "**" and fnmatchcase(part, steps[at])}
        stayed = {at for at in reached if at < len(steps) and steps[at] == "**"}
        reached = _past_stars(steps, matched | stayed)
        if not reached:
            return False
    return len(steps) in reached


def _past_stars(steps: list[str], reached: set[int]) -> set[int]:
    """Return `reached`, with the step after each `**` in it."""
    for at, step in enumerate(steps):
        if at in reached and step == "**":
            reached.add(at + 1)
    return reached
