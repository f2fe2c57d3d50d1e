"""The doctor's findings: one result for each check of each thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.doctor.catalogue import Level, Section, catalogue


class Place(NamedTuple):
    """A place in a file. Line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check."""

    id: str
    """The permanent id of the check: ``LLR301``. `catalogue` has its cause and its cure."""
    level: Level
    section: Section
    subject: str
    """What was checked: the file (with a line), a variable, the trace folder, or a provider or role by name."""
    message: str
    cure: str = ""
    """What to do; empty if nothing is needed."""
    file: str | None = None
    """The file concerned, if there is one."""
    line: int | None = None
    """The line in that file, from 1."""
    column: int | None = None

    @property
    def place(self) -> str:
        """The place: ``file:line:column``, or only the file; empty if there is none."""
        return str(Place(self.file, self.line or 0, self.column or 0)) if self.file else ""


def found(
    check: str,
    subject: str,
    message: str,
    *,
    level: Level | None = None,
    at: Place | None = None,
    cure: str | None = None,
) -> CheckResult:
    """Return a result of the check `check`, with the catalogue's level and cure unless others are given."""
    kind = catalogue()[check]
    level = level or kind.level
    cure = kind.cure if cure is None else cure
    return CheckResult(
        check, level, kind.section, bounded(subject), bounded(message), "" if level == "ok" else cure,
        at.file if at else None, at.line or None if at else None, at.column or None if at else None,
    )  # fmt: skip


def selected(results: Iterable[CheckResult], only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[CheckResult]:
    """Return the `results` whose ids begin with one of `only`, if given, and with none of `skip`."""
    return [
        result
        for result in results
        if (not only or result.id.startswith(tuple(only))) and not (skip and result.id.startswith(tuple(skip)))
    ]


def is_bad(results: Iterable[CheckResult], strict: bool = False) -> bool:
    """Whether any of `results` is an error, or with `strict` a warning."""
    return any(result.level == "error" or (strict and result.level == "warning") for result in results)
