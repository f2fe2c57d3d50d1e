"""The provider `claude_cli`: an answer is whole or an error, a run ends in time, and nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from helpers import fake_claude as fc
from helpers.agent_calls import FOREVER, HANG, ask, complete, failure
from helpers.claude_support import provider, service
from helpers.fake_claude import FakeClaude
from lee_llm_router import LLMRouterError, LLMUsage
from lee_llm_router.errors import FailureType as F

# An answer


@pytest.mark.parametrize("face", ["sync", "async"])
def test_an_answer_comes_whole_with_its_usage(claude: FakeClaude, face: str) -> None:
    """Anthropic counts what was read from and written to the cache apart; here the input holds all of it."""
    claude.script(fc.answer("the\u2028", "answer"))
    subject = provider(claude)
    response = complete(subject) if face == "sync" else asyncio.run(subject.complete_async(ask(), HANG))
    assert (response.text, response.finish_reason) == ("the\u2028answer", "stop")
    assert response.usage == LLMUsage(
        prompt_tokens=108, completion_tokens=23, total_tokens=131, cached_tokens=40, cache_write_tokens=7
    )
    assert (response.model, response.details.id) == ("claude-some-served", "6fd0a9d8-session")
    assert response.details.finish_reason == "end_turn"
    assert response.request_bytes == len("hello") + len("Answer the user's message.")
    assert [event["type"] for event in response.raw] == ["system", "system", "assistant", "result"]


def test_what_a_run_costs_is_told_only_where_it_is_billed(claude: FakeClaude) -> None:
    """A subscription has paid already, and a server without a key sends no bill."""
    assert complete(provider(claude)).cost_usd == 0.0125
    assert complete(service(claude, api_key_env="LEE_TEST_KEY")).cost_usd == 0.0125
    assert complete(service(claude)).cost_usd is None
    assert complete(provider(claude, api_key_env=None)).cost_usd is None


def test_reasoning_is_kept_apart_and_all_texts_of_the_message_are_the_answer(claude: FakeClaude) -> None:
    """Claude itself reports only the last block as the result."""
    claude.script([
        fc.INIT, fc.message_start(), fc.block(type="thinking", thinking="hm"), fc.block(type="text", text="one "),
        fc.block(type="thinking", thinking="so"), fc.block(type="text", text="two"), *fc.message_end(),
        fc.result("two"),
    ])  # fmt: skip
    response = complete(provider(claude))
    assert (response.text, response.reasoning) == ("one two", "hm\n\nso")


def test_a_claude_that_does_not_show_the_pieces_is_read_as_well(new_claude: FakeClaude) -> None:
    whole = [fc.INIT, fc.block(type="text", text="hel"), fc.block(type="text", text="lo"), fc.result("lo")]
    new_claude.script(whole, help=fc.HELP.replace("--include-partial-messages", ""))
    assert complete(provider(new_claude)).text == "hello"
    assert "--include-partial-messages" not in new_claude.run["argv"]


def test_the_last_message_of_an_agent_is_the_answer(claude: FakeClaude) -> None:
    """What it said before it used a tool, and what its own agents say, is not."""
    of_another = {**fc.block(7, type="text", text="of another"), "parent_tool_use_id": "toolu_1"}
    tool = {"type": "user", "message": {"role": "user", "content": []}, "parent_tool_use_id": None}
    claude.script([
        *fc.answer("I will look.")[:-1], tool, of_another, *fc.text_message("Found.", number=2), fc.result("Found."),
    ])  # fmt: skip
    response = complete(provider(claude, agent=True))
    assert (response.text, response.usage.prompt_tokens) == ("Found.", 108)


def test_unreported_usage_is_none(claude: FakeClaude) -> None:
    claude.script([fc.INIT, fc.block(type="text", text="hi"), fc.result("hi", usage=fc.NO_USAGE, total_cost_usd=0)])
    response = complete(provider(claude))
    assert (response.usage, response.cost_usd) == (LLMUsage(), None)


def test_lines_that_are_no_events_and_events_of_an_unknown_kind_do_no_harm(claude: FakeClaude) -> None:
    text = "long " * 300_000
    odd = ["warning\n", "[1]\n", "{\n", '{"type":3}\n', '{"type":"new.event"}\n', {"type": "assistant"},
           {"type": "stream_event", "event": {"type": "content_block_delta", "delta": 3}}, {"type": "rate_limit_event"},
           {"type": "assistant", "message": {"id": "msg_1", "content": [3, {"type": "text", "text": {}}]}}]  # fmt: skip
    claude.script([*odd, *fc.answer(text)])
    assert complete(provider(claude)).text == text


def test_half_a_surrogate_pair_is_text_that_can_be_stored(claude: FakeClaude) -> None:
    claude.script([fc.INIT, '{"type":"assistant","message":{"id":"m","content":[{"type":"text","text":"a\\ud83d"}]}}\n',
                   fc.result("x")])  # fmt: skip
    assert complete(provider(claude)).text.encode() == "a\ufffd".encode()


# Claude goes on by itself, and a plain completion is one request


def test_an_answer_cut_by_its_bound_is_told_so_and_not_continued(claude: FakeClaude) -> None:
    """Claude would ask the model to go on, and would then report the last piece as the whole answer."""
    more = "open(os.path.join(os.path.dirname(sys.argv[0]), 'went-on'), 'w')"
    claude.script([fc.INIT, *fc.text_message("half", stop_reason="max_tokens")], after=f"time.sleep(9)\n{more}")
    response = complete(provider(claude), ask(max_tokens=50))
    assert (response.text, response.finish_reason) == ("half", "length")
    assert response.usage.completion_tokens == 23
    assert claude.run["env"]["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "50"
    assert not (claude.folder / "went-on").exists()


def test_an_answer_cut_before_its_first_word_is_a_failure(claude: FakeClaude) -> None:
    claude.script([fc.INIT, fc.message_start(), *fc.message_end("max_tokens")])
    error = failure(provider(claude))
    assert (error.failure_type, error.final) == (F.INVALID_RESPONSE, True)
    assert "cut" in error.message


def test_the_last_piece_of_an_agents_cut_answer_is_no_answer(claude: FakeClaude) -> None:
    """An agent goes on after a cut, since it may have been in the middle of its work."""
    claude.script([*fc.answer("half")[:-3], *fc.message_end("max_tokens"), *fc.text_message("rest", number=2),
                   fc.result("rest")])  # fmt: skip
    assert failure(provider(claude, agent=True)).failure_type is F.INVALID_RESPONSE
    work: dict[str, Any] = {"type": "user", "message": {"content": []}, "parent_tool_use_id": None}
    used = [fc.message_start(2), *fc.message_end("tool_use"), work]
    claude.script([*fc.answer("half")[:-3], *fc.message_end("max_tokens"), *used, *fc.text_message("done", number=3),
                   fc.result("done")])  # fmt: skip
    assert complete(provider(claude, agent=True)).text == "done"


def test_an_empty_answer_is_a_failure_and_the_model_is_not_asked_again(claude: FakeClaude) -> None:
    again = {"type": "user", "message": {"role": "user", "content": "[Please continue]"}, "isSynthetic": True}
    claude.script([fc.INIT, *fc.text_message(""), again, *fc.text_message("late", number=2), fc.result("late")])
    error = failure(provider(claude))
    assert (error.failure_type, error.sent) == (F.INVALID_RESPONSE, True)


@pytest.mark.parametrize("stop_reason", ["end_turn", "stop_sequence", "tool_use", "of tomorrow"])
def test_a_message_without_a_text_ends_the_run_before_claude_says_that_it_goes_on(
    claude: FakeClaude, stop_reason: str
) -> None:
    """Its next request may be on the wire by then."""
    more = "open(os.path.join(os.path.dirname(sys.argv[0]), 'went-on'), 'w')"
    claude.script([fc.INIT, *fc.text_message("", stop_reason=stop_reason)], after=f"time.sleep(9)\n{more}")
    error = failure(provider(claude))
    assert (error.failure_type, error.sent, error.final) == (F.INVALID_RESPONSE, True, False)
    assert not (claude.folder / "went-on").exists()


def test_a_refusal_without_a_text_is_told_by_claude(claude: FakeClaude) -> None:
    refused = fc.result("Claude is unable to respond to this request", is_error=True, stop_reason="refusal")
    claude.script([fc.INIT, fc.message_start(), *fc.message_end("refusal"), refused])
    assert failure(provider(claude)).failure_type is F.CONTENT_FILTER


def test_what_stands_in_the_place_of_an_empty_answer_is_none(claude: FakeClaude) -> None:
    """A model that writes the same words itself has written them piece by piece."""
    stand_in = fc.block(type="text", text="(no content)")
    claude.script([fc.INIT, fc.message_start(), stand_in, *fc.message_end(), fc.result("(no content)")])
    assert failure(provider(claude)).failure_type is F.INVALID_RESPONSE
    claude.script(fc.answer("(no content)"))
    assert complete(provider(claude)).text == "(no content)"


def test_what_claude_writes_itself_is_no_answer(claude: FakeClaude) -> None:
    """A prompt that it takes for a command of its own ends well, without a model being asked."""
    said = "Unknown command: /foo"
    claude.script([fc.INIT, fc.synthetic(said), fc.result(said, num_turns=0, usage=fc.NO_USAGE)])
    error = failure(provider(claude))
    assert error.failure_type is F.INVALID_REQUEST
    assert said in error.message


# Ends


@pytest.mark.parametrize(
    ("lines", "how", "failure_type"),
    [
        (fc.answer("hi"), {"exit": 1}, F.PROVIDER_ERROR),
        (fc.answer("hi"), {"signal": "SIGKILL"}, F.PROVIDER_ERROR),
        (fc.answer("hi"), {"exit": 143}, F.PROVIDER_ERROR),
        (fc.answer("hi")[:-1], {}, F.INVALID_RESPONSE),
        ([], {}, F.INVALID_RESPONSE),
        (["\x00\xff\n"], {}, F.INVALID_RESPONSE),
        (['{"type":"res'], {"signal": "SIGKILL"}, F.PROVIDER_ERROR),
        (fc.failure("boom"), {"exit": 1}, F.UNKNOWN),
        (fc.failure("boom"), {"exit": 0}, F.UNKNOWN),
        ([*fc.answer("hi")[:-1], fc.result("hi", is_error=None)], {}, F.UNKNOWN),
    ],
)
def test_anything_short_of_a_whole_answer_is_a_failure(
    claude: FakeClaude, lines: list[Any], how: dict[str, Any], failure_type: F
) -> None:
    """An interrupted claude, too, ends with exit code 0 and prints nothing."""
    claude.script(lines, **how)
    assert failure(provider(claude)).failure_type is failure_type


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize(
    "before", [FOREVER, f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}"], ids=["hangs", "ignores TERM"]
)
def test_a_hanging_claude_is_a_timeout(claude: FakeClaude, face: str, before: str) -> None:
    complete(provider(claude))  # the flags are known from here on
    claude.script(before=before)
    subject = provider(claude, term_grace=0.2)
    with pytest.raises(LLMRouterError) as caught:
        if face == "sync":
            subject.complete(ask(), 1)
        else:
            asyncio.run(subject.complete_async(ask(), 1))
    assert (caught.value.failure_type, caught.value.sent) == (F.TIMEOUT, False)


def test_a_timeout_in_the_middle_keeps_what_has_come(claude: FakeClaude) -> None:
    claude.script([fc.INIT, fc.message_start(), fc.text_piece("ha"), fc.text_piece("lf")], after=FOREVER)
    error = failure(provider(claude), timeout=1.5)
    assert (error.failure_type, error.sent) == (F.TIMEOUT, True)
    assert error.response is not None
    assert (error.response.text, error.response.usage.prompt_tokens) == ("half", 108)


def test_a_failure_told_before_the_timeout_is_that_failure(claude: FakeClaude) -> None:
    claude.script(fc.failure("Credit balance is too low", "billing_error", 400), after=FOREVER)
    assert failure(provider(claude), timeout=1.5).failure_type is F.QUOTA


def test_a_flood_is_an_invalid_response(claude: FakeClaude) -> None:
    claude.script([fc.INIT], after="while True: os.write(1, b'x' * 65536)")
    error = failure(provider(claude, max_output_bytes=100_000))
    assert (error.failure_type, error.sent) == (F.INVALID_RESPONSE, True)


def test_cancelling_ends_claude_at_once_and_leaves_nothing(claude: FakeClaude, tmp_path: Path) -> None:
    claude.script(before=f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}")

    async def main() -> None:
        task = asyncio.create_task(provider(claude).complete_async(ask(), HANG))
        while not claude.runs:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((tmp_path / "temp").iterdir()) == []

    asyncio.run(main())


def test_a_missing_program_is_named(claude: FakeClaude) -> None:
    error = failure(provider(claude, command="no-such-claude"))
    assert (error.failure_type, error.sent, error.final) == (F.PROVIDER_ERROR, False, True)
    assert (error.provider, error.model) == ("claude", "m")
    assert "was not found on PATH" in error.message


def test_an_interrupted_claude_says_how_it_ended(claude: FakeClaude) -> None:
    claude.script([], signal="SIGTERM")
    assert signal.Signals.SIGTERM.name in failure(provider(claude)).message
