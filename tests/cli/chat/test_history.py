"""Conversations on disk: which one is meant, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lee_llm_router.cli.chat.history import (
    MAX_BYTES,
    ChatHistory,
    ConversationFile,
    HistoryError,
    events_of,
    read_conversation,
    turn_event,
)

TURN = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


def test_a_beginning_that_several_conversations_have_names_none(tmp_path: Path) -> None:
    """All of them are told. A whole name is that one, whatever other names begin with it."""
    for name in ("20260101-aa", "20260101-bb", "20260101"):
        (tmp_path / f"{name}.jsonl").touch()
    history = ChatHistory(tmp_path)
    with pytest.raises(HistoryError, match="'2026' matches more than one conversation") as error:
        history.find("2026")
    assert all(name in str(error.value) for name in ("20260101-aa", "20260101-bb"))
    assert history.find("20260101").stem == "20260101"
    assert history.find("bb").stem == "20260101-bb"


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "chats").touch()
    with pytest.raises(HistoryError, match="chats: Not a directory"):
        ChatHistory(tmp_path / "chats").find()


def test_a_conversation_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"gone\.jsonl: No such file"):
        ConversationFile(tmp_path / "gone.jsonl").open()


def test_a_file_that_is_larger_than_any_conversation_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(HistoryError, match="larger than 64,000,000 bytes"):
        read_conversation(path)


def test_the_events_of_a_conversation_make_it_again(tmp_path: Path) -> None:
    """Empty lines between them are no damage."""
    file = ConversationFile(tmp_path / "chats" / "one.jsonl")
    file.append({"event": "system", "text": "Be brief."})
    file.append(turn_event(TURN), {"event": "role", "name": "r"})
    file.close()
    file.path.write_bytes(file.path.read_bytes().replace(b"\n", b"\n\n"))
    said = read_conversation(file.path)
    assert (said.role, said.system, said.turns, said.skipped) == ("r", "Be brief.", [TURN], 0)
    copy = ConversationFile(tmp_path / "chats" / "two.jsonl")
    copy.append(*events_of(said))
    copy.close()
    assert read_conversation(copy.path) == said and copy.id == "two"
