"""Finds an agent's program, its flags and its version."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.errors import LLMTimeoutError, ProviderError
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.providers.agents.time_budget import TimeBudget
from lee_llm_router.providers.child_process.runner import run_child

_ProgramKey: TypeAlias = tuple[tuple[str, ...], int, int, int]

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
_MAX_HELP = 1 << 20
_MAX_VERSION = 1 << 16

# Known flags by program; the key changes when the program is replaced. Two concurrent lookups find the same.
_flags_by_program: dict[_ProgramKey, frozenset[str]] = {}


def find_program(command: str) -> str:
    """Return the absolute path of a command: a name on PATH, or a path.

    Raises:
        ProviderError: there is no such program. `sent` is False.
    """
    with suppress(ValueError):
        command = os.path.expanduser(command)  # noqa: PTH111 - Path would drop a leading "./"
    found = shutil.which(command)
    if found is None:
        where = "is not an executable file" if os.sep in command else "was not found on PATH"
        raise ProviderError(f"the command {command} {where}", sent=False, final=True)
    return str(Path(found).absolute())


def known_flags(
    program: str, help_words: Sequence[str], env: dict[str, str], dirs: AttemptDirs, budget: TimeBudget
) -> frozenset[str] | None:
    """Return the flags in a program's help, read once per program; None if it lists none.

    Args:
        program: Its path.
        help_words: Arguments that print its help; empty: there are none.
        env: Its environment.
        dirs: The private folders it runs in.
        budget: The time it may take.

    Raises:
        LLMTimeoutError: it did not end in time. `sent` is False.
    """
    if not help_words:
        return None
    argv = (program, *help_words)
    stat = Path(program).stat()
    key = (argv, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    known = _flags_by_program.get(key)
    if known is None:
        lines: list[bytes] = []
        result = run_child(
            argv, env=env, cwd=dirs.work, timeout=budget.left, max_output=_MAX_HELP,
            on_line=lines.append, cancel=budget.cancel, watch=dirs.watch,
        )  # fmt: skip
        if result.end == "timeout":
            what = " ".join((Path(argv[0]).name, *argv[1:]))
            raise LLMTimeoutError(f"{what} did not end within {budget.total:g} s", sent=False)
        known = parse_flags(b"\n".join(lines).decode(errors="replace")) if result.returncode == 0 else None
        if known is not None:
            _flags_by_program[key] = known
    return known


def parse_flags(help_text: str) -> frozenset[str] | None:
    """Return the flags in a help text; None if it lists none, so that it is no help text."""
    return frozenset(_FLAG.findall(help_text)) or None


def program_version(argv: tuple[str, ...], env: dict[str, str], dirs: AttemptDirs, timeout: float) -> str:
    """Return what a program prints as its version, shortened.

    Raises:
        ProviderError: it prints none.
    """
    output: list[bytes] = []
    result = run_child(
        argv, env=env, cwd=dirs.work, timeout=timeout, max_output=_MAX_VERSION, on_line=output.append, watch=dirs.watch
    )
    version = bounded(b" ".join(output).decode(errors="replace"), 80)
    if result.returncode != 0 or not version:
        raise ProviderError(f"{' '.join(argv)} gave no version (exit {result.returncode})", sent=False)
    return version
