"""The arguments of a tool call while their pieces arrive. Pure.

Complete arguments have no continuation: a piece after them that begins like an object repeats them, and is dropped.
Servers that translate from another API send an empty object before the first piece. So it is held back, and passed on
at the end if nothing has followed it.
"""

from __future__ import annotations

import re

BEGINNINGS = ("{", "n", " ")
"""How a piece begins if it may add nothing new."""
_NOTHING = ("{}", "null")
_BRACKETS = re.compile(r'["\\{}\[\]]')
_IN_TEXT = re.compile(r'["\\]')


class ArgumentsSoFar:
    """The pieces of one call's arguments.

    It detects whether they are a complete JSON object or list, and reads each piece once.
    """

    __slots__ = ("_began", "_depth", "_escaped", "_in_text", "_unread", "is_empty", "says_none")

    def __init__(self) -> None:
        self._unread: list[str] = []
        self._depth = 0
        self._in_text = self._escaped = self._began = False
        self.is_empty = True
        """Whether no piece has brought anything, or only an empty object."""
        self.says_none = False
        """Whether they began with an empty object, or with null."""

    def take(self, piece: str) -> str:
        """Take the next piece, and return what it adds."""
        said = piece.strip()
        if said and self.is_empty:
            self.says_none = said in _NOTHING
            piece = "" if self.says_none else piece
        elif said.startswith("{") and self.is_whole:
            piece = ""
        self.add(piece)
        return piece

    def add(self, piece: str) -> None:
        """Take the next piece, which begins with none of `BEGINNINGS` and so is new as a whole."""
        if piece:
            self._unread.append(piece)
            if self.is_empty:
                self.is_empty = piece.isspace()

    @property
    def is_whole(self) -> bool:
        """Whether they may be complete: every opened bracket is closed."""
        if self.says_none and not self._began and not self._unread:
            return True
        for piece in self._unread:
            self._read(piece)
        self._unread.clear()
        return self._began and self._depth <= 0 and not self._in_text

    def _read(self, piece: str) -> None:
        position = 1 if self._escaped else 0
        self._escaped = False
        while found := (_IN_TEXT if self._in_text else _BRACKETS).search(piece, position):
            position = found.end()
            mark = found[0]
            if mark == "\\":
                self._escaped = position == len(piece)
                position += 1
            elif mark == '"':
                self._in_text = not self._in_text
            else:
                self._began = True
                self._depth += 1 if mark in "{[" else -1
