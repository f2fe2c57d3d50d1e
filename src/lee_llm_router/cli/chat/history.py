"""Conversations on disk: a file of JSON lines each, in a private folder next to the traces.

How this works
--------------
Each event in a conversation is one line, appended with one `write` after it has happened: the start, a finished turn,
the removal of the last turn, a change of the role or the instructions, the removal of everything. Continuing a
conversation means reading these lines again. Damaged lines are skipped, and the rest survives.

A chat holds a lock on its file while it runs. If another chat has a conversation open, continuing it makes a copy in a
new file: two chats never write to one file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.file_lock import FileLock
from lee_llm_router.cli.chat.private_files import append_line, make_private_folder
from lee_llm_router.engine.messages import normalize_messages
from lee_llm_router.errors import InvalidRequestError

MAX_BYTES = 64_000_000
"""Size in bytes of the largest file to read."""
_ENDING = ".jsonl"
_RANDOM_BYTES = 3


class HistoryError(Exception):
    """A conversation cannot be read or found. The message says why."""


@dataclass(slots=True)
class Conversation:
    """The conversation so far, with its role and instructions."""

    role: str | None = None
    system: str | None = None
    turns: list[list[dict[str, Any]]] = field(default_factory=list)
    """Each a question and its answer, as messages."""
    skipped: int = 0
    """Damaged lines that were skipped in reading it."""

    def messages(self) -> list[dict[str, Any]]:
        """Return all its messages, the instructions first."""
        said = [message for turn in self.turns for message in turn]
        return said if self.system is None else [{"role": "system", "content": self.system}, *said]

    def apply(self, event: Mapping[str, Any]) -> None:
        """Apply `event`, in the form of a line of the file.

        Raises:
            ValueError: it is not an event.
        """
        match event:
            case {"event": "begin"}:
                pass
            case {"event": "turn", "messages": [{"role": "user"}, {"role": "assistant"}] as messages}:
                normalize_messages(messages)
                self.turns.append([*messages])
            case {"event": "undo"}:
                del self.turns[-1:]
            case {"event": "clear"}:
                self.turns.clear()
            case {"event": "system", "text": str() | None as text}:
                self.system = text
            case {"event": "role", "name": str() | None as name}:
                self.role = name
            case _:
                raise ValueError


class ChatHistory:
    """The conversations of one folder.

    Args:
        folder: The folder, created when a conversation is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new_file(self) -> ConversationFile:
        """Return a file for a new conversation, which exists on disk only after its first line."""
        now = datetime.now(UTC)
        return ConversationFile(self.folder / f"{now:%Y%m%d-%H%M%S}-{os.urandom(_RANDOM_BYTES).hex()}{_ENDING}")

    def find(self, wanted: str | None = None) -> Path:
        """Return the file of the conversation whose id begins or ends with `wanted`; of the latest one for None.

        Raises:
            HistoryError: there is none, or there are several.
        """
        paths = sorted(self._paths(), key=_last_used, reverse=True)
        if wanted is None:
            if not paths:
                raise HistoryError(f"there is no conversation to continue in {self.folder}")
            return paths[0]
        found = [path for path in paths if path.stem.startswith(wanted) or path.stem.endswith(wanted)]
        exact = [path for path in found if path.stem == wanted]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if not found:
            raise HistoryError(f"no conversation {wanted!r:.60} in {self.folder}")
        shown = ", ".join(path.stem for path in found[:10])
        raise HistoryError(f"{wanted!r:.60} matches more than one conversation: {shown}")

    def _paths(self) -> Iterator[Path]:
        try:
            with os.scandir(self.folder) as entries:
                yield from (Path(entry.path) for entry in entries if entry.name.endswith(_ENDING) and entry.is_file())
        except FileNotFoundError:
            return
        except OSError as error:
            raise HistoryError(f"{self.folder}: {error.strerror}") from None


class ConversationFile:
    """The file of one conversation. Nobody else writes to it while this object has it open.

    Args:
        path: Its path, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FileLock | None = None
        self._held: list[Mapping[str, Any]] = []
        """Events before the first turn of a conversation that is not on disk yet."""

    @property
    def id(self) -> str:
        """The id of the conversation."""
        return self.path.stem

    def open(self) -> tuple[Conversation, bool]:
        """Read the conversation; return it, and whether nobody else has it open.

        Raises:
            HistoryError: it cannot be read.
        """
        try:
            self._lock = FileLock(self.path)
            return read_conversation(self.path), not self._lock.is_held_by_another
        except OSError as error:
            raise HistoryError(f"{self.path}: {error.strerror}") from None

    def append(self, *events: Mapping[str, Any]) -> None:
        """Write `events`. The first turn creates the file: a chat without a turn leaves none.

        Raises:
            OSError: it cannot be written.
        """
        if self._lock is None:
            if all(event["event"] != "turn" for event in events):
                self._held += events
                return
            events = (*self._held, *events)
            make_private_folder(self.path.parent)
            append_line(self.path, _line({"event": "begin", "schema": 1, "at": _now()}), create=True)
            self._lock = FileLock(self.path)
        append_line(self.path, b"".join(map(_line, events)))

    def close(self) -> None:
        """Let others write to it."""
        if self._lock is not None:
            self._lock.close()


def read_conversation(path: Path) -> Conversation:
    """Return the conversation in the file `path`.

    Raises:
        HistoryError: it is too large.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise HistoryError(f"{path}: larger than {MAX_BYTES:,} bytes")
    found = Conversation()
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            found.apply(event if isinstance(event, dict) else {})
        except (ValueError, RecursionError, InvalidRequestError):
            found.skipped += 1
    return found


def events_of(conversation: Conversation) -> list[dict[str, Any]]:
    """Return the events that recreate `conversation`, for a copy of it."""
    events: list[dict[str, Any]] = [{"event": "turn", "messages": turn, "at": _now()} for turn in conversation.turns]
    if conversation.system is not None:
        events.append({"event": "system", "text": conversation.system})
    if conversation.role is not None:
        events.append({"event": "role", "name": conversation.role})
    return events


def turn_event(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the event of a turn that ends now."""
    return {"event": "turn", "messages": messages, "at": _now(), **more}


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=True, default=str).encode() + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _last_used(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name
