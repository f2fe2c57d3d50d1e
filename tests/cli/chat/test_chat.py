"""The command `chat` as a program in a pipe: what it asks, keeps and obeys."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Run
from lee_llm_router.cli.chat.input_lines import TypedLines
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.mock import MockProvider
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.response.details import AnswerDetails, NativeTurn

CHATS = Path(".lee-llm-router", "chats")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[LLMRequest]:
    """What mock providers are asked; each answers with the number of the request, in its own form too."""
    requests: list[LLMRequest] = []
    inner = MockProvider.complete

    def complete(provider: MockProvider, request: LLMRequest, timeout: float) -> LLMResponse:
        if provider.name in ("busy", "dead"):
            return inner(provider, request, timeout)
        requests.append(request)
        native = NativeTurn(dialect="anthropic", origin=provider.name, content=[{"thinking": len(requests)}])
        return LLMResponse(text=f"answer {len(requests)}", details=AnswerDetails(native=native))

    monkeypatch.setattr(MockProvider, "complete", complete)
    monkeypatch.setattr(MockProvider, "stream", Provider.stream)
    return requests


def typed(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def texts(request: LLMRequest) -> list[tuple[str, Any]]:
    return [(message["role"], message["content"]) for message in request.messages]


def kept() -> list[list[dict[str, Any]]]:
    """The lines of each conversation on disk, the oldest file first."""
    paths = sorted(CHATS.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]


# --- what is said ---


def test_each_message_is_asked_with_all_that_was_said_before(run: Run, asked: list[LLMRequest]) -> None:
    """Standard output has the answers alone. Empty lines are no messages."""
    code, out, err = run("chat", "--system", "Be brief.", stdin=typed("one", "", "  ", "two"))
    assert (code, out, err) == (0, "answer 1\nanswer 2\n", "")
    assert texts(asked[1]) == [
        ("system", "Be brief."), ("user", "one"), ("assistant", "answer 1"), ("user", "two"),
    ]  # fmt: skip


def test_an_answer_goes_back_in_its_vendors_own_form(run: Run, asked: list[LLMRequest]) -> None:
    """After a fallback and another role too, and in a conversation that is gone on with."""
    run("chat", stdin=typed("one", "/role chain", "two"))
    run("chat", "--continue", stdin=typed("three"))
    answers = [message for message in asked[2].messages if message["role"] == "assistant"]
    assert [answer["provider_data"]["anthropic"]["content"] for answer in answers] == [
        [{"thinking": 1}], [{"thinking": 2}],
    ]  # fmt: skip


def test_messages_of_several_lines(run: Run, asked: list[LLMRequest]) -> None:
    """By a backslash at the end of a line, or between lines of three quotes; two backslashes are two."""
    lines = [
        "one\\",
        "two",
        '"""',
        "three",
        "",
        "  four",
        '"""',
        'a """ within',
        '"""five"""',
        "six\\\\",
        '"""open',
        "end",
    ]
    run("chat", stdin=typed(*lines))
    said = [request.messages[-1]["content"] for request in asked]
    assert said == ["one\ntwo", "three\n\n  four", 'a """ within', "five", "six\\\\", "open\nend"]


def test_a_failed_question_does_not_end_the_chat(run: Run, asked: list[LLMRequest]) -> None:
    """It is told, it is no part of the conversation, and it can be asked again elsewhere."""
    code, out, err = run(
        "chat", "-r", "dead", stdin=typed("one", "/role echo", "two", "/role dead", "three", "/role echo", "/retry")
    )
    assert (code, out) == (0, "answer 1\nanswer 2\n")
    assert err.count("AUTH") >= 2 and "Traceback" not in err
    assert texts(asked[1]) == [("user", "two"), ("assistant", "answer 1"), ("user", "three")]


def test_what_a_terminal_would_obey_stays_itself_in_a_pipe(run: Run) -> None:
    assert run("chat", stdin=typed("a\x1b[31mb"))[1] == "a\x1b[31mb\n"


def test_options_hold_for_every_message(run: Run, asked: list[LLMRequest]) -> None:
    run("chat", "-t", "0.5", "-o", "seed=3", "--max-tokens", "9", stdin=typed("one", "two"))
    assert [(r.temperature, r.seed, r.max_tokens) for r in asked] == [(0.5, 3, 9)] * 2


def test_named_targets_need_no_configuration(run: Run, here: Path) -> None:
    (here / "lee-llm-router.yaml").unlink()
    assert run("chat", "--target", "mock/x", stdin=typed("hi"))[:2] == (
        0, "This answer was made up by the mock provider.\n",
    )  # fmt: skip


# --- commands ---


def test_retry_asks_again_in_place_of_the_answer(run: Run, asked: list[LLMRequest]) -> None:
    run("chat", stdin=typed("/retry", "one", "two", "/retry", "three"))
    assert texts(asked[2]) == texts(asked[1])
    assert texts(asked[3])[3:] == [("assistant", "answer 3"), ("user", "three")]


def test_a_retry_that_fails_keeps_the_answer_it_was_to_replace(run: Run, asked: list[LLMRequest]) -> None:
    """And a further one replaces it."""
    run("chat", stdin=typed("one", "/role dead", "/retry", "/role echo", "two"))
    assert texts(asked[1]) == [("user", "one"), ("assistant", "answer 1"), ("user", "two")]
    run("chat", stdin=typed("one", "/role dead", "/retry", "/role echo", "/retry", "two"))
    assert texts(asked[4]) == [("user", "one"), ("assistant", "answer 4"), ("user", "two")]


def test_clear_and_system_change_what_is_sent(run: Run, asked: list[LLMRequest]) -> None:
    lines = ["one", "/clear", "two", "/system Be kind.", "three", "/system", "/system -", "four"]
    err = run("chat", stdin=typed(*lines))[2]
    assert texts(asked[1]) == [("user", "two")]
    assert texts(asked[2])[0] == ("system", "Be kind.") and "Be kind." in err
    assert texts(asked[3])[0] == ("user", "two")


def test_roles_are_listed_and_changed(run: Run, asked: list[LLMRequest]) -> None:
    err = run("chat", stdin=typed("/role", "/role odd", "one", "/role ood"))[2]
    assert "* echo" in err and "  chain" in err and "did you mean 'odd'" in err
    assert asked[0].role == "odd"


def test_what_is_no_command_is_not_sent(run: Run, asked: list[LLMRequest]) -> None:
    """It may be a typo, or a path; // sends it."""
    err = run("chat", stdin=typed("/rolle x", "/etc/hosts", "//etc/hosts", "/help"))[2]
    assert "no such command /rolle (did you mean '/role'?)" in err
    assert [request.messages[-1]["content"] for request in asked] == ["/etc/hosts"]
    assert "/retry" in err and "Ctrl-D" in err


@pytest.mark.parametrize("word", ["/exit", "/quit"])
def test_exit_ends_the_chat(run: Run, asked: list[LLMRequest], word: str) -> None:
    assert run("chat", stdin=typed(word, "one")) == (0, "", "")
    assert not asked


def test_trace_shows_the_last_call(run: Run, asked: list[LLMRequest]) -> None:
    _, out, err = run("chat", "-r", "chain", stdin=typed("/trace", "one", "/trace"))
    assert "nothing has been asked yet" in err
    assert "RATE_LIMIT" in out and "busy" in out and "echo" in out


def test_save_writes_a_file_that_is_not_there(run: Run, here: Path, asked: list[LLMRequest]) -> None:
    """As Markdown or as JSON, for the user alone; nothing is overwritten."""
    lines = ["one", "/save", "/save talk.md", "/save talk.json", "/save talk.md", "/save nowhere/x.md", "/save \0"]
    err = run("chat", "-s", "Be brief.", stdin=typed(*lines))[2]
    assert (here / "talk.md").read_text().startswith("## Instructions\n\nBe brief.\n\n## You\n\none\n\n## Answer")
    assert [message["role"] for message in json.loads((here / "talk.json").read_text())] == [
        "system", "user", "assistant",
    ]  # fmt: skip
    assert stat.S_IMODE((here / "talk.md").stat().st_mode) == 0o600
    assert "file's name is missing" in err and "already exists" in err and err.count("cannot be written") == 2


# --- what is kept ---


def test_a_conversation_is_kept_for_its_owner_alone(run: Run, asked: list[LLMRequest]) -> None:
    run("chat", stdin=typed("one"))
    (path,) = CHATS.glob("*.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(CHATS.stat().st_mode) == 0o700
    assert (CHATS / ".gitignore").read_text() == "*\n"


def test_nothing_is_kept_of_a_chat_in_which_nothing_was_said(run: Run) -> None:
    run("chat", "-s", "x", stdin=typed("/system y", "/role odd", "/clear"))
    assert not CHATS.exists()


def test_without_history_nothing_is_kept(run: Run, asked: list[LLMRequest]) -> None:
    run("chat", "--no-history", stdin=typed("one"))
    assert not CHATS.exists() and len(asked) == 1


def test_a_chat_goes_on_with_the_last_conversation_or_a_named_one(run: Run, asked: list[LLMRequest]) -> None:
    """With its role and instructions, unless the command line names others."""
    run("chat", "-s", "First.", "-r", "odd", stdin=typed("one"))
    (first,) = CHATS.glob("*.jsonl")
    run("chat", stdin=typed("two"))
    run("chat", "-c", stdin=typed("three"))
    assert texts(asked[2])[0] == ("user", "two")
    for wanted in (first.stem, first.stem[:15], first.stem[-6:]):
        code, _, err = run("chat", "--continue", wanted, stdin=typed("four"))
        assert code in (0, 2) and (code == 0 or "more than one" in err)
    assert texts(asked[-1])[:2] == [("system", "First."), ("user", "one")] and asked[-1].role == "odd"
    run("chat", "-c", first.stem, "-r", "echo", "-s", "Other.", stdin=typed("five"))
    assert texts(asked[-1])[0] == ("system", "Other.") and asked[-1].role == "echo"


def test_what_was_undone_and_cleared_stays_so(run: Run, asked: list[LLMRequest]) -> None:
    run("chat", stdin=typed("one", "/clear", "two", "/retry", "three"))
    run("chat", "-c", stdin=typed("four"))
    assert texts(asked[-1]) == [
        ("user", "two"), ("assistant", "answer 3"), ("user", "three"), ("assistant", "answer 4"), ("user", "four"),
    ]  # fmt: skip


def test_a_damaged_conversation_is_gone_on_with(run: Run, asked: list[LLMRequest]) -> None:
    """What is damaged is passed over and counted, and the next line does not stick to a cut one."""
    run("chat", stdin=typed("one", "two"))
    (path,) = CHATS.glob("*.jsonl")
    odd = [b"\xff\xfe", b"3", b'{"event":"turn","messages":[{"role":"user"}]}', b'{"event":"nonsense"}', b"[" * 100_000,
           b'{"event":"turn","messages":[{"role":"user","content":{"a":1}},{"role":"assistant"}]}']  # fmt: skip
    path.write_bytes(path.read_bytes() + b"\n".join(odd) + b'\n{"event":"tu')
    code, _, err = run("chat", "-c", stdin=typed("three"))
    assert code == 0 and "skipped: 7" in err
    assert [text for _, text in texts(asked[-1])] == ["one", "answer 1", "two", "answer 2", "three"]
    run("chat", "-c", stdin=typed("four"))
    assert [text for _, text in texts(asked[-1])][-3:] == ["three", "answer 3", "four"]


def test_a_role_that_is_gone_gives_way_to_the_default_one(run: Run, here: Path, asked: list[LLMRequest]) -> None:
    run("chat", "-r", "odd", stdin=typed("one"))
    file = here / "lee-llm-router.yaml"
    file.write_text(file.read_text().replace("    odd: {provider: odd}\n", ""))
    run("chat", "-c", stdin=typed("two"))
    assert asked[-1].role == "echo"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("-c",), "no conversation to continue"),
        (("-c", "nope"), "no conversation 'nope'"),
        (("hello",), "only for --continue"),
        (("-r", "nope"), "no such role"),
        (("--target", "mock/x", "-r", "echo"), "cannot be combined with --role"),
    ],
)
def test_wrong_usage_is_exit_2(run: Run, asked: list[LLMRequest], args: tuple[str, ...], told: str) -> None:
    code, out, err = run("chat", *args, stdin=typed("hi"))
    assert (code, out, asked) == (2, "", [])
    assert told in err


def test_a_folder_that_cannot_be_written_ends_the_keeping_and_not_the_chat(
    run: Run, here: Path, asked: list[LLMRequest]
) -> None:
    """It is said once."""
    (here / ".lee-llm-router").mkdir()
    (here / CHATS).write_text("a file")
    code, out, err = run("chat", stdin=typed("one", "two"))
    assert (code, out) == (0, "answer 1\nanswer 2\n")
    assert err.count("no longer kept") == 1


def test_verbose_says_who_gave_each_answer(run: Run, asked: list[LLMRequest]) -> None:
    err = run("chat", "-v", "-r", "chain", stdin=typed("one", "two"))[2]
    assert err.count("lee-llm-router trace show") == 2


def test_a_conversation_that_cannot_be_written_is_gone_on_with_all_the_same(run: Run, asked: list[LLMRequest]) -> None:
    """Nothing is written along a link; new instructions hold for this chat alone then."""
    run("chat", stdin=typed("one"))
    (path,) = CHATS.glob("*.jsonl")
    kept_before = path.rename("elsewhere.jsonl").read_bytes()
    path.symlink_to(Path("elsewhere.jsonl").absolute())
    code, out, err = run("chat", "--continue", "--system", "Be brief.", stdin=typed("two"))
    assert (code, out) == (0, "answer 2\n")
    assert "this chat is no longer kept" in err
    assert texts(asked[1]) == [("system", "Be brief."), ("user", "one"), ("assistant", "answer 1"), ("user", "two")]
    assert Path("elsewhere.jsonl").read_bytes() == kept_before


def test_what_was_typed_before_is_read_from_a_plain_file_alone(tmp_path: Path) -> None:
    """Opening a FIFO would wait for a writer for ever."""
    fifo = tmp_path / "typed.history"
    os.mkfifo(fifo)
    lines = TypedLines(fifo)
    assert lines.read() == []
    lines.add("a message")
    assert lines.read() == []
