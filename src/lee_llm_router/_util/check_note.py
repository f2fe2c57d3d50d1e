"""What a check says: a level, a sentence, and the id of the check, by which the doctor tells cause and cure."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

NoteLevel: TypeAlias = Literal["ok", "warning", "error"]


class CheckNote(tuple[NoteLevel, str]):
    """The pair (level, sentence) that `Provider.check` returns, with the id of the check that says it.

    A provider of somebody else's returns plain pairs, and need know no ids.
    """

    check: str

    def __new__(cls, level: NoteLevel, text: str, check: str) -> Self:
        note = super().__new__(cls, (level, text))
        note.check = check
        return note


def id_of_note(note: tuple[str, str]) -> str | None:
    """Return the id of the check that says `note`; None for a plain pair."""
    return note.check if isinstance(note, CheckNote) else None
