"""The command `chat` at a terminal: keys, pastes, what is shown, and two chats at once."""

from __future__ import annotations

import json
import readline
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.command_line import command
from helpers.servers import Conversation, Received, Server, answering, eventually
from helpers.stream_servers import DONE, HEAD, LAST, STOP, delta, event, framed, in_turn
from helpers.terminal import PATIENCE, Terminal
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

CHATS = Path(".lee-llm-router", "chats")
CONFIG = """
llm:
  default_role: me
  providers:
    served: {{type: http, base_url: "{url}"}}
    mock: {{type: mock, echo: true}}
  roles:
    me: {{provider: served, model: m, retry: {{attempts: 1}}}}
    menu: {{provider: mock}}
"""
IS_GNU = "libedit" not in (readline.__doc__ or "")


def said(received: Received) -> list[str]:
    return [message["content"] for message in received.json["messages"]]


def answered(text: str) -> bytes:
    return HEAD + b"".join(framed(part) for part in (event(delta(content=text)), STOP, DONE)) + LAST


def echoing(conversation: Conversation) -> None:
    """Answer each question with what was asked, in capitals."""
    while (received := conversation.receive()) is not None:
        conversation.send(answered(said(received)[-1].upper()))


@pytest.fixture
def start(here: Path) -> Callable[..., Terminal]:
    def started(server: Server, *args: str, **options: int) -> Terminal:
        (here / "lee-llm-router.yaml").write_text(CONFIG.format(url=server.url))
        return Terminal(command("chat", *args), here, columns=options.get("columns", 80))

    return started


Start = Callable[..., Terminal]


def test_a_conversation_and_its_end(start: Start) -> None:
    """A prompt with the name of the role, answers below, and Ctrl-D ends it with 0."""
    with Server(echoing) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.press("hello\n")
        terminal.wait_for("HELLO\nme>")
        terminal.press("again\n")
        terminal.wait_for("AGAIN\nme>")
        terminal.press("\x04")
        assert terminal.ends() == 0
    assert said(server.requests[1]) == ["hello", "HELLO", "again"]


def test_ctrl_c_at_the_prompt_forgets_the_line_and_not_the_chat(start: Start) -> None:
    with Server(echoing) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.press("not this")
        terminal.wait_for("not this")
        terminal.interrupt()
        terminal.wait_for("Ctrl-D or /exit ends the chat")
        terminal.press("hello\n")
        terminal.wait_for("HELLO")
    assert said(server.requests[0]) == ["hello"]


def test_ctrl_c_stops_an_answer_and_keeps_what_was_seen(start: Start) -> None:
    """The attempt is traced as cancelled, and the next question comes after the part that was shown."""

    def script(conversation: Conversation) -> None:
        conversation.receive()
        conversation.send(HEAD + framed(event(delta(content="Once upon"))))
        conversation.stall()

    with Server(in_turn(script, echoing)) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.press("a story\n")
        terminal.wait_for("Once upon")
        terminal.interrupt()
        terminal.wait_for("stopped: the part of the answer that arrived is kept")
        terminal.press("go on\n")
        terminal.wait_for("GO ON\nme>")
        terminal.press("/exit\n")
        assert terminal.ends() == 0
    assert said(server.requests[1]) == ["a story", "Once upon", "go on"]
    assert [record.outcome for record in LocalFileTraceStore().last(2)] == ["cancelled", "ok"]


def test_ctrl_c_before_an_answer_leaves_the_question_to_retry(start: Start) -> None:
    def script(conversation: Conversation) -> None:
        conversation.receive()
        conversation.stall()

    with Server(in_turn(script, echoing)) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.press("a story\n")
        terminal.wait_for("asking served/m")
        terminal.interrupt()
        terminal.wait_for("stopped: /retry asks again")
        assert "asking" not in terminal.seen
        terminal.press("/retry\n")
        terminal.wait_for("A STORY")
    assert said(server.requests[1]) == ["a story"]


def test_a_paste_of_several_lines_is_one_message(start: Start) -> None:
    """Also with a newline at its end, and with lines that look like commands."""
    with Server(echoing) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.paste("one\n/exit\nthree\n")
        terminal.press("\n")
        assert eventually(lambda: bool(server.requests), PATIENCE)
        terminal.wait_for("THREE")
    assert said(server.requests[0])[0].rstrip() == "one\n/exit\nthree"


def test_a_paste_that_nobody_marks_is_one_message_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where standard output is no terminal, and so lines are not edited."""
    with Server(echoing) as server:
        (Path() / "lee-llm-router.yaml").write_text(CONFIG.format(url=server.url))
        with Path("out").open("wb") as out, Terminal(command("chat"), Path(), stdout=out) as terminal:
            terminal.wait_for("me>")
            terminal.press("one\ntwo\nthree\n")
            assert eventually(lambda: Path("out").read_text() != "", PATIENCE)
            terminal.press("\x04")
            assert terminal.ends() == 0
    assert said(server.requests[0]) == ["one\ntwo\nthree"]
    assert Path("out").read_text() == "ONE\nTWO\nTHREE\n"


def test_what_was_typed_is_at_hand_in_the_next_chat(start: Start, here: Path) -> None:
    """By the arrow keys; a message of several lines as one. For its owner alone."""
    with Server(echoing) as server:
        with start(server) as terminal:
            terminal.wait_for("me>")
            terminal.press("first\\\nsecond\n")
            terminal.wait_for("SECOND")
            terminal.press("/exit\n")
            assert terminal.ends() == 0
        with start(server) as terminal:
            terminal.wait_for("me>")
            terminal.press("\x1b[A\x1b[A\n")
            assert eventually(lambda: len(server.requests) == 2, PATIENCE)
    assert said(server.requests[1]) == ["first\nsecond"]
    typed = here / CHATS / "typed.history"
    assert typed.stat().st_mode & 0o777 == 0o600
    assert json.loads(typed.read_text().splitlines()[0]) == "first\nsecond"


def test_commands_and_roles_are_completed(start: Start) -> None:
    with Server(echoing) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.press("/ro\t men\t\n")
        terminal.wait_for("menu>")


def test_an_answer_is_shown_and_not_obeyed(start: Start) -> None:
    """Nor is the name of a role, nor what was said before."""

    def script(conversation: Conversation) -> None:
        while conversation.receive() is not None:
            conversation.send(answered("\x1b]0;mine\x07\x1b[2Jend"))

    with Server(script) as server:
        with start(server) as terminal:
            terminal.wait_for("me>")
            terminal.press("hi\n")
            terminal.wait_for("\\x1b]0;mine\\x07\\x1b[2Jend")
            terminal.press("/exit\n")
            assert terminal.ends() == 0
        with start(server, "-c") as terminal:
            terminal.wait_for("\\x1b]0;mine\\x07\\x1b[2Jend")
            terminal.wait_for("continuing after 1 turn:")


def test_a_conversation_that_is_open_is_gone_on_with_in_a_copy(start: Start, here: Path) -> None:
    """Two chats never write to one file; each has what was said before, and what was said in it."""
    with Server(echoing) as server:
        with start(server) as terminal:
            terminal.wait_for("me>")
            terminal.press("one\n")
            terminal.wait_for("ONE\nme>")
            with start(server, "--continue") as other:
                other.wait_for("is open in another chat")
                other.wait_for("me>")
                other.press("theirs\n")
                other.wait_for("THEIRS\nme>")
                terminal.press("mine\n")
                terminal.wait_for("MINE\nme>")
                other.press("/exit\n")
                assert other.ends() == 0
            terminal.press("/exit\n")
            assert terminal.ends() == 0
        files = [path.read_text() for path in (here / CHATS).glob("*.jsonl")]
        assert len(files) == 2 and all("ONE" in text for text in files)
        assert sorted("THEIRS" in text for text in files) == [False, True]
        assert all(("THEIRS" in text) != ("MINE" in text) for text in files)


def test_a_killed_chat_leaves_its_conversation_whole(start: Start) -> None:
    """And free to be gone on with."""
    with Server(echoing) as server:
        with start(server) as terminal:
            terminal.wait_for("me>")
            terminal.press("one\n")
            terminal.wait_for("ONE\nme>")
            terminal.child.kill()
            terminal.ends()
        with start(server, "-c") as terminal:
            terminal.wait_for("continuing after 1 turn:")
            assert "another chat" not in terminal.seen


def test_a_wait_before_the_first_attempt_is_told_too(start: Start) -> None:
    """A vendor's wait that an earlier question has met, say."""
    limited = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 50\r\nContent-Length: 0\r\n\r\n"
    with Server(answering(limited)) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.press("hi\n")
        terminal.wait_for("RATE_LIMIT")
        terminal.press("/retry\n")
        terminal.wait_for("s for served/m: the vendor asked to wait")
        terminal.interrupt()
        terminal.wait_for("stopped: /retry asks again")


def test_the_waiting_line_stands_below_the_question_and_is_gone(start: Start) -> None:
    go = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.receive()
        assert go.wait(PATIENCE)
        conversation.send(answered("done"))
        conversation.stall()

    with Server(script) as server, start(server) as terminal:
        terminal.wait_for("me>")
        terminal.press("hi\n")
        terminal.wait_for("asking served/m")
        go.set()
        assert terminal.wait_for("done\nme>").splitlines()[-3:] == ["me> hi", "done", "me>"]
