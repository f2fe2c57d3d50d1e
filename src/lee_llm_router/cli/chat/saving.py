"""Writes a conversation to a file of the user: Markdown to read, or JSON to continue with elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lee_llm_router.cli.chat.history import Conversation
from lee_llm_router.response.types import message_text

_TITLES = {"user": "You", "assistant": "Answer", "system": "Instructions"}


def save(path: Path, conversation: Conversation) -> None:
    """Write `conversation` to `path`, which must not exist yet: as JSON if it ends in .json, otherwise as Markdown.

    Raises:
        FileExistsError: there is such a file.
        OSError: it cannot be written.
    """
    messages = conversation.messages()
    if path.suffix == ".json":
        text = json.dumps(messages, indent=2, ensure_ascii=False) + "\n"
    else:
        parts = (f"## {_TITLES.get(str(one['role']), one['role'])}\n\n{message_text(one)}\n" for one in messages)
        text = "\n".join(parts)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
