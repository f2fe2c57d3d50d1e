"""Repairs of unambiguous faults: modes of files, misspelt keys, odd lines of the `.env`.

How this works. Each repair is planned from a result of the doctor, and changes one file: its mode, or parts of its text
by position, so that comments and layout stay. A repair of the configuration is kept only if it leaves fewer mistakes
than before. Nothing is written before `Repair.apply`; text of a file is scrubbed before it is shown.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from lee_llm_router._util.atomic_file import replace_file
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import MASK, bounded, scrub
from lee_llm_router._util.small_files import read_small_file
from lee_llm_router.config.env_file import MAX_ENV_BYTES
from lee_llm_router.config.reading import MAX_BYTES
from lee_llm_router.doctor.partial_config import read_partly
from lee_llm_router.doctor.results import CheckResult

_MEANT = re.compile(r" \(did you mean '([^']+)'\?\)$")
_LEAST_ALIKE = 0.75
"""Least similarity between a key and the one that was meant."""
_WIDE_OPEN = {"LLR120": 0o600, "LLR206": 0o600, "LLR304": 0o600, "LLR516": 0o600, "LLR803": 0o700}
"""The checks of modes, and the most that is left of a mode."""
_SECRETS = ("LLR113", "LLR114", "LLR119")
_ENV_LINE = r"^([ \t]*(?:export[ \t]+)?{name}[ \t]*=[ \t]*)(['\"])(.*)\2[ \t\r]*$"


@dataclass(frozen=True, slots=True)
class Repair:
    """A change to one file: to its mode, or to its text."""

    check: str
    path: Path
    title: str
    """What it does, in one line."""
    seen: os.stat_result | None
    """The file's status when this was planned; None if the file will be created."""
    mode: int | None = None
    data: bytes | None = None
    shown: tuple[str, ...] = ()
    """The changed lines as a diff, without secrets."""

    def lines(self) -> Iterator[str]:
        """Yield the changes as a diff."""
        yield f"--- {self.path}"
        yield f"+++ {self.path}  ({self.check}: {self.title})"
        yield from self.shown

    def apply(self) -> None:
        """Change the file.

        Raises:
            OSError: it cannot be changed, or has changed since this was planned.
        """
        if self.data is not None:
            replace_file(self.path, self.data, self.seen)
        elif self.mode is not None:
            # Through a descriptor, and never through a link that may have been put there meanwhile.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                info = os.fstat(descriptor)
                if self.seen is None or (info.st_dev, info.st_ino) != (self.seen.st_dev, self.seen.st_ino):
                    raise OSError(0, "it is no longer the same file")
                os.fchmod(descriptor, self.mode)
            finally:
                os.close(descriptor)


def planned_repairs(results: Sequence[CheckResult]) -> list[Repair]:
    """Return the possible repairs for `results`, in order of execution."""
    repairs = [
        *_repaired_keys(results),
        *_repaired_env(results),
        *_repaired_ignore_lists(results),
        *_repaired_modes(results),
    ]
    return list({(repair.path, repair.data is None): repair for repair in repairs}.values())


def _repaired_modes(results: Iterable[CheckResult]) -> Iterator[Repair]:
    for result in results:
        most = _WIDE_OPEN.get(result.id)
        path = _path_of_mode(result)
        if most is None or path is None:
            continue
        try:
            info = path.stat()
        except OSError:
            continue
        old, new = stat.S_IMODE(info.st_mode), stat.S_IMODE(info.st_mode) & most
        if info.st_uid in (os.geteuid(), 0) and old != new:
            shown = (f"-mode {old:04o}", f"+mode {new:04o}")
            yield Repair(result.id, path, f"chmod {new:o}", info, mode=new, shown=shown)


def _path_of_mode(result: CheckResult) -> Path | None:
    """Return the file whose mode a result is about; for the key's and the trace folder, the subject names it."""
    if result.id == "LLR803":
        return Path(result.subject)
    if result.id == "LLR304":
        named = re.search(r"^api_key_file (.+) is open to other users", result.message)
        base = Path(result.file).parent if result.file else Path()
        return base / Path(named[1]).expanduser() if named else None
    return Path(result.file) if result.file else None


def _repaired_keys(results: Sequence[CheckResult]) -> Iterator[Repair]:
    """Yield repairs of misspelt keys, for each file."""
    typos = [one for one in results if one.id in ("LLR104", "LLR103") and one.line and _MEANT.search(one.message)]
    secret_lines = {one.line for one in results if one.id in _SECRETS}
    for name in dict.fromkeys(one.file for one in typos if one.file):
        try:
            data, info = read_small_file(name, MAX_BYTES)
            lines = data.decode().splitlines(keepends=True)
        except (OSError, ValueError):
            continue
        whole = read_partly(name)
        old, before = list(lines), len(whole.mistakes)
        renamed = []
        # The last first, so that earlier columns in a line stay valid.
        for typo in sorted((one for one in typos if one.file == name), key=_position, reverse=True):
            new = _renamed(lines, typo)
            left = before if new is None else len(read_partly("".join(new) + "\n", whole.origin).mistakes)
            if new is not None and left < before:
                lines, before = new, left
                renamed.append(typo)
        if renamed:
            shown = tuple(_diff(old, lines, secret_lines))
            title = "the keys that were meant" if len(renamed) > 1 else "the key that was meant"
            yield Repair("LLR104", Path(name), title, info, data="".join(lines).encode(), shown=shown)


def _position(result: CheckResult) -> tuple[int, int]:
    return result.line or 0, result.column or 0


def _renamed(lines: list[str], typo: CheckResult) -> list[str] | None:
    """Return `lines` with the key of `typo` replaced by the one that was meant; None if that is uncertain."""
    meant = _MEANT.search(typo.message)
    number, column = (typo.line or 0) - 1, (typo.column or 0) - 1
    if meant is None or not 0 <= number < len(lines) or column < 0:
        return None
    line = lines[number]
    written = re.match(r"(['\"]?)([A-Za-z_][A-Za-z0-9_-]*)\1(?=\s*:)", line[column:])
    if written is None or SequenceMatcher(None, written[2].lower(), meant[1].lower()).ratio() < _LEAST_ALIKE:
        return None
    new = f"{line[:column]}{written[1]}{meant[1]}{written[1]}{line[column + len(written[0]) :]}"
    return [*lines[:number], new, *lines[number + 1 :]]


def _diff(old: Sequence[str], new: Sequence[str], secret_lines: set[int | None]) -> Iterator[str]:
    for number, (before, after) in enumerate(zip(old, new, strict=True), 1):
        if before != after:
            yield f"@@ line {number} @@"
            for sign, line in (("-", before), ("+", after)):
                text = line.rstrip("\r\n")
                if number in secret_lines:
                    text = f"{text.partition(':')[0]}: {MASK}"
                yield sign + bounded_line(text)


def bounded_line(text: str) -> str:
    """Return a line of a file in a form that may be shown: its indentation, and the rest scrubbed and shortened."""
    inner = text.lstrip(" ")
    return " " * min(len(text) - len(inner), 40) + bounded(scrub(inner), 200)


def _repaired_env(results: Sequence[CheckResult]) -> Iterator[Repair]:
    """Yield repairs of values in a `.env` that contain quotes, blanks or line ends."""
    odd = [one for one in results if one.id in ("LLR202", "LLR203") and one.file and one.line]
    for name in dict.fromkeys(one.file for one in odd if one.file):
        try:
            data, info = read_small_file(name, MAX_ENV_BYTES)
            text = data.decode()
        except (OSError, ValueError):
            continue
        new, shown = text, []
        for result in (one for one in odd if one.file == name):
            variable = result.subject.removeprefix("variable ")
            pattern = re.compile(_ENV_LINE.format(name=re.escape(variable)), re.MULTILINE)
            changed = pattern.sub(_cleaned, new, count=1)
            if changed != new:
                new = changed
                shown += [f"@@ line {result.line} @@", f"-{variable}={MASK}", f"+{variable}={MASK}  (as meant)"]
        if "\r" in new and any(one.id == "LLR203" for one in odd):
            new = new.replace("\r\n", "\n")
            shown += ["@@ all lines @@", "-carriage returns at their ends", "+none"]
        if new != text:
            yield Repair("LLR203", Path(name), "values without quotes and blanks", info, data=new.encode(),
                         shown=tuple(shown))  # fmt: skip


def _cleaned(found: re.Match[str]) -> str:
    """Return a line of a `.env` with a clean value in its original quotes; unchanged if that is uncertain."""
    value = found[3].strip()
    while len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    if "\\" in value or found[2] in value:
        return found[0]
    return f"{found[1]}{found[2]}{value}{found[2]}"


def _repaired_ignore_lists(results: Iterable[CheckResult]) -> Iterator[Repair]:
    """Yield repairs of a `.gitignore` that lacks the `.env`."""
    for result in results:
        if result.id != "LLR208" or not result.file:
            continue
        path = Path(result.file).parent / ".gitignore"
        data, info = b"", None
        try:
            data, info = read_small_file(path, MAX_BYTES)
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            continue
        line = f"{Path(result.file).name}\n".encode()
        new = data + (b"" if not data or data.endswith(b"\n") else b"\n") + line
        yield Repair(result.id, path, "git leaves the .env alone", info, data=new, shown=(f"+{line.decode().strip()}",))
