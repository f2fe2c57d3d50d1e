"""The provider `codex_cli`: an answer is whole or an error, a run ends in time, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import fake_codex
from helpers.agent_calls import FOREVER, HANG, ask, complete, failure
from helpers.codex_support import provider
from helpers.fake_codex import FakeCodex
from lee_llm_router import LLMRouterError, LLMUsage
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.child_process import owned_folder

# An answer


@pytest.mark.parametrize("face", ["sync", "async"])
def test_an_answer_comes_whole_with_its_usage(codex: FakeCodex, face: str) -> None:
    codex.script(fake_codex.answer("the\u2028answer"))
    subject = provider(codex)
    response = complete(subject) if face == "sync" else asyncio.run(subject.complete_async(ask(), HANG))
    assert response.text == "the\u2028answer"
    assert response.finish_reason == "stop"
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens, response.usage.total_tokens) == (
        101, 23, 124,
    )  # fmt: skip
    assert (response.usage.cached_tokens, response.usage.reasoning_tokens) == (40, 5)
    assert response.request_bytes == len("hello") + len("Answer the user's message.")
    assert [event["type"] for event in response.raw][-1] == "turn.completed"


def test_the_last_message_is_the_answer_and_reasoning_is_kept_apart(codex: FakeCodex) -> None:
    thought = {"type": "item.completed", "item": {"id": "i", "type": "reasoning", "text": "hm"}}
    codex.script([fake_codex.message("I will look."), thought, thought, *fake_codex.answer("Found.")])
    response = complete(provider(codex))
    assert (response.text, response.reasoning) == ("Found.", "hm\n\nhm")


def test_unreported_usage_is_none(codex: FakeCodex) -> None:
    codex.script(fake_codex.answer("hi", {"input_tokens": 0, "output_tokens": 0}))
    assert complete(provider(codex)).usage == LLMUsage()


def test_a_line_of_a_megabyte_and_lines_that_are_no_events_do_no_harm(codex: FakeCodex) -> None:
    text = "long " * 300_000
    codex.script(["Reading prompt from stdin...\n", "[1]\n", "{\n", '{"type":"new.event"}\n', *fake_codex.answer(text)])
    assert complete(provider(codex)).text == text


def test_an_error_event_that_ends_no_turn_is_ignored(codex: FakeCodex) -> None:
    codex.script([{"type": "error", "message": "Reconnecting... 1/5"}, *fake_codex.answer("hi")])
    assert complete(provider(codex)).text == "hi"


# Ends


def test_an_agent_message_before_a_failure_is_no_answer(codex: FakeCodex) -> None:
    """What was received is attached to the error."""
    codex.script([*fake_codex.BEGIN, fake_codex.message("whole?"), *fake_codex.failure("boom")], exit=1)
    error = failure(provider(codex))
    assert error.response is not None
    assert error.response.text == "whole?"


@pytest.mark.parametrize(
    ("lines", "how", "failure_type"),
    [
        (fake_codex.answer("hi"), {"exit": 1}, F.PROVIDER_ERROR),
        (fake_codex.answer("hi"), {"signal": "SIGKILL"}, F.PROVIDER_ERROR),
        (fake_codex.answer("hi")[:-1], {}, F.INVALID_RESPONSE),
        (fake_codex.answer(""), {}, F.INVALID_RESPONSE),
        (fake_codex.answer("hi")[:3] + fake_codex.answer("hi")[4:], {}, F.INVALID_RESPONSE),
        ([], {}, F.INVALID_RESPONSE),
        (["\x00\xff\n"], {}, F.INVALID_RESPONSE),
        (['{"type":"turn.comp'], {"signal": "SIGKILL"}, F.PROVIDER_ERROR),
        (fake_codex.answer("hi") + fake_codex.failure("boom"), {}, F.UNKNOWN),
    ],
)
def test_anything_short_of_a_whole_answer_is_a_failure(
    codex: FakeCodex, lines: list[Any], how: dict[str, Any], failure_type: F
) -> None:
    codex.script(lines, **how)
    assert failure(provider(codex)).failure_type is failure_type


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize(
    "before", [FOREVER, f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}"], ids=["hangs", "ignores TERM"]
)
def test_a_hanging_codex_is_a_timeout(codex: FakeCodex, face: str, before: str) -> None:
    complete(provider(codex))  # the flags are known from here on
    codex.script(before=before)
    subject = provider(codex, term_grace=0.2)
    with pytest.raises(LLMRouterError) as caught:
        if face == "sync":
            subject.complete(ask(), 1)
        else:
            asyncio.run(subject.complete_async(ask(), 1))
    assert (caught.value.failure_type, caught.value.sent) == (F.TIMEOUT, False)
    assert not _runs(codex.runs[-1]["pid"])


def test_a_timeout_in_the_middle_says_that_a_request_was_sent(codex: FakeCodex) -> None:
    codex.script([*fake_codex.BEGIN, fake_codex.message("half")], after=FOREVER)
    error = failure(provider(codex), timeout=1.5)
    assert (error.failure_type, error.sent) == (F.TIMEOUT, True)
    assert error.response is not None
    assert error.response.text == "half"


def test_a_whole_answer_at_the_last_moment_is_taken(codex: FakeCodex) -> None:
    """It arrived before the timeout, and codex ended with exit code 0 when it was told to end."""
    codex.script([], before="signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))")
    lines = "".join(json.dumps(line) + "\n" for line in fake_codex.answer("late"))
    codex.script([lines], after="signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\ntime.sleep(60)")
    assert complete(provider(codex), timeout=1.5).text == "late"


def test_a_failure_reported_before_the_timeout_is_that_failure(codex: FakeCodex) -> None:
    codex.script(fake_codex.failure("Quota exceeded. Check your plan."), after=FOREVER)
    assert failure(provider(codex), timeout=1.5).failure_type is F.QUOTA


def test_a_flood_is_an_invalid_response(codex: FakeCodex) -> None:
    codex.script(fake_codex.BEGIN, after="while True: os.write(1, b'x' * 65536)")
    error = failure(provider(codex, max_output_bytes=100_000))
    assert (error.failure_type, error.sent) == (F.INVALID_RESPONSE, True)
    assert "100000 bytes" in error.message


def test_cancelling_ends_codex_at_once_and_leaves_nothing(codex: FakeCodex, tmp_path: Path) -> None:
    codex.script(before=f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}")

    async def main() -> None:
        task = asyncio.create_task(provider(codex).complete_async(ask(), HANG))
        while not codex.runs:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((tmp_path / "temp").iterdir()) == []
        assert not _runs(codex.run["pid"])

    asyncio.run(main())


def test_an_interrupt_from_the_keyboard_is_re_raised_and_leaves_nothing(codex: FakeCodex) -> None:
    """That no temporary folder and no child is left is checked after every test."""
    codex.script(before=FOREVER)

    def interrupt() -> None:
        while not codex.runs:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        complete(provider(codex))
    thread.join()


def test_what_an_agent_leaves_write_protected_is_removed_too(codex: FakeCodex, tmp_path: Path) -> None:
    made = "p = os.environ['TMPDIR'] + '/a/b'; os.makedirs(p); open(p + '/f', 'w').close()\n"
    codex.script(before=f"{made}os.chmod(p, 0o500); os.chmod(p[:-2], 0)")
    complete(provider(codex, agent=True))
    assert list((tmp_path / "temp").iterdir()) == []


def test_a_folder_that_cannot_be_removed_is_logged(
    codex: FakeCodex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(owned_folder, "remove_folder", lambda _: False)
        assert complete(provider(codex)).text == "hello"
    assert "could not be removed" in caplog.text
    for folder in sorted((tmp_path / "temp").rglob("*"), reverse=True):
        folder.rmdir() if folder.is_dir() else folder.unlink()
    (tmp_path / "temp").rmdir()
    (tmp_path / "temp").mkdir()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# A machine that is not ready


@pytest.mark.parametrize(
    ("command", "said"),
    [("no-such-codex", "was not found on PATH"), ("/nonexistent/codex", "is not an executable file")],
)
def test_a_missing_program_is_named(codex: FakeCodex, command: str, said: str) -> None:
    error = failure(provider(codex, command=command))
    assert (error.failure_type, error.sent, error.final) == (F.PROVIDER_ERROR, False, True)
    assert said in error.message


def test_a_program_is_found_on_path_and_by_tilde(
    codex: FakeCodex, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(codex.folder), prepend=os.pathsep)
    complete(provider(codex, command="codex"))
    (machine / "codex").symlink_to(codex.path)
    (machine / "script.json").symlink_to(codex.folder / "script.json")
    assert complete(provider(codex, command="~/codex")).text == "hello"


def test_a_missing_workspace_is_named(codex: FakeCodex, tmp_path: Path) -> None:
    error = failure(provider(codex, workspace=str(tmp_path / "missing")))
    assert (error.failure_type, error.sent) == (F.PROVIDER_ERROR, False)
    assert "working folder" in error.message


def test_a_setting_no_command_line_can_carry_is_an_invalid_request(codex: FakeCodex) -> None:
    error = failure(provider(codex, model="a\0b"), ask(model=None))
    assert (error.failure_type, error.sent) == (F.INVALID_REQUEST, False)


def test_no_place_for_temporary_files_is_a_provider_error(
    codex: FakeCodex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    error = failure(provider(codex))
    assert (error.failure_type, error.sent) == (F.PROVIDER_ERROR, False)


def test_a_disk_that_fills_up_is_a_provider_error(codex: FakeCodex, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    complete(provider(codex))
    monkeypatch.setattr(Path, "write_text", full)
    error = failure(provider(codex))
    assert (error.failure_type, error.sent, error.final) == (F.PROVIDER_ERROR, False, False)
    assert "No space left" in error.message


def _no_descriptors(*_: object) -> None:
    raise OSError(24, "Too many open files")


def test_a_run_that_breaks_in_the_middle_may_have_been_sent(codex: FakeCodex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codex has the prompt by then, and an agent may have begun: its effects must not be repeated."""
    complete(provider(codex))  # the flags are known from here on
    monkeypatch.setattr("selectors.DefaultSelector", _no_descriptors)
    error = failure(provider(codex, agent=True))
    assert (error.failure_type, error.sent, error.provider, error.model) == (F.PROVIDER_ERROR, True, "codex", "m")
    assert "Too many open files" in error.message


def test_a_flag_look_up_that_breaks_has_sent_nothing(new_codex: FakeCodex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selectors.DefaultSelector", _no_descriptors)
    error = failure(provider(new_codex, agent=True))
    assert (error.failure_type, error.sent) == (F.PROVIDER_ERROR, False)
