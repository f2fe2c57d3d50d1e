"""The result of a check: a level, a sentence, and the check's id, for which the doctor knows cause and cure."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

NoteLevel: TypeAlias = Literal["ok", "warning", "error"]


class CheckNote(tuple[NoteLevel, str]):
    """The pair (level, sentence) that `Provider.check` returns, with the id of the check.

    A third-party provider returns plain pairs, and need not know any ids.
    """

    check: str

    def __new__(cls, level: NoteLevel, text: str, check: str) -> Self:
        note = super().__new__(cls, (level, text))
        note.check = check
        return note


def id_of_note(note: tuple[str, str]) -> str | None:
    """Return the id of the check behind `note`; None for a plain pair."""
    return note.check if isinstance(note, CheckNote) else None
