"""However agents end, alone or many at once, they leave no process, no folder and no descriptor."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from helpers import fake_claude
from helpers.agent_calls import FOREVER, HANG, ask
from helpers.agent_crowd import Leftovers, crowd
from helpers.child_support import alive, linux
from helpers.claude_support import provider
from helpers.codex_support import provider as codex_provider
from helpers.fake_claude import FakeClaude
from helpers.fake_codex import FakeCodex
from lee_llm_router import LLMRouterError

# Begins a daemon: in a session of its own, without a parent, and without any of our pipes.
DAEMON = """
if not os.fork():
    os.setsid()
    if os.fork(): os._exit(0)
    for number in range(3): os.close(number)
    with open(os.path.dirname(sys.argv[0]) + '/part-daemon', 'w') as file: file.write(str(os.getpid()))
    time.sleep(999)
while not os.path.exists(os.path.dirname(sys.argv[0]) + '/part-daemon'): time.sleep(0.01)
while not open(os.path.dirname(sys.argv[0]) + '/part-daemon').read(): time.sleep(0.01)
"""


@linux
@pytest.mark.parametrize("end", ["exit", "timeout", "cancelled", "over"])
def test_a_daemon_that_an_agent_has_started_ends_with_it(claude: FakeClaude, end: str) -> None:
    """Nothing connects it to the agent but its environment."""
    lines = fake_claude.answer("hello")
    if end == "over":
        lines = [fake_claude.INIT, *fake_claude.text_message("half", stop_reason="max_tokens")]
    claude.script(lines, before=DAEMON, after="" if end == "exit" else FOREVER)
    subject, daemon = provider(claude, agent=end != "over"), claude.folder / "part-daemon"

    async def cancelled() -> None:
        task = asyncio.create_task(subject.complete_async(ask(), HANG))
        while not daemon.exists() or not daemon.read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    if end == "cancelled":
        asyncio.run(cancelled())
    elif end == "timeout":
        with pytest.raises(LLMRouterError):
            subject.complete(ask(), 4)
    else:
        subject.complete(ask(), HANG)
    assert not alive(int(daemon.read_text()))


@linux
@pytest.mark.parametrize("seed", range(3))
def test_of_a_crowd_that_is_killed_in_part_nothing_is_left(claude: FakeClaude, tmp_path: Path, seed: int) -> None:
    """Those that are not killed answer all the same. (`tests/real` does it with the real programs.)"""
    (tmp_path / "bin").mkdir()
    codex = FakeCodex(tmp_path / "bin")
    claude.script(before="time.sleep(0.1)")
    codex.script(before="time.sleep(0.1)")
    before = Leftovers()
    agents = [(codex_provider(codex) if number % 2 else provider(claude)) for number in range(12)]
    ends = crowd(agents, seed, 1.0)
    assert ends["answer"] >= 8, ends
    assert set(ends) <= {"answer", "cancelled", "PROVIDER_ERROR", "INVALID_RESPONSE"}
    assert before.found(tmp_path / "temp") == []
