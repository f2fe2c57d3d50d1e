"""The real claude as an agent: it reads its workspace, changes nothing unless it may, and leaves no process."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from real import messages_server as ms
from real import responses_server as rs
from real.claude_asks import ask, provider
from real.processes import HANG, gone, processes

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("claude_key")]


def result_of_tool(server: rs.ResponsesServer) -> str:
    return json.dumps(server.posts[-1].body["messages"][-1])


def test_an_agent_reads_its_workspace_and_nothing_else(claude_path: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "note.txt").write_text("marked-note")
    (tmp_path / "outside.txt").write_text("marked-outside")
    for name, mark, seen in (("project/note.txt", "marked-note", True), ("outside.txt", "marked-outside", False)):
        with rs.serve(ms.tool_call("Read", {"file_path": str(tmp_path / name)}, "done")) as server:
            subject = provider(claude_path, server.base_url, agent=True, workspace=str(folder))
            response = subject.complete(ask("Look."), HANG)
        assert response.text == "done"
        assert response.usage.prompt_tokens == 216
        assert (mark in result_of_tool(server)) is seen


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("Bash", {"command": "touch made"}), ("Write", {"file_path": "{}/made", "content": "x"})],
)
@pytest.mark.parametrize("tools", [None, ["Read", "Bash", "Write"]])
def test_an_agent_changes_nothing_unless_it_may(
    claude_path: str, tmp_path: Path, tool: str, arguments: dict[str, str], tools: list[str] | None
) -> None:
    """Nobody is there to be asked, so what must be asked for is refused, even by a tool that it has."""
    arguments = {name: value.format(tmp_path) for name, value in arguments.items()}
    settings: dict[str, Any] = {} if tools is None else {"tools": tools}
    with rs.serve(ms.tool_call(tool, arguments, "done")) as server:
        subject = provider(claude_path, server.base_url, agent=True, workspace=str(tmp_path), **settings)
        assert subject.complete(ask("Do it."), HANG).text == "done"
        assert not (tmp_path / "made").exists()
        settings = {"tools": ["Bash", "Write"], "permission_mode": "acceptEdits"}
        allowed = {"permissions": {"allow": ["Bash(touch:*)"]}}
        may = provider(
            claude_path, server.base_url, agent=True, workspace=str(tmp_path), extra_config=allowed, **settings
        )
        assert may.complete(ask("Do it."), HANG).text == "done"
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("command", ["sleep {}", "setsid sleep {}; true"])
def test_a_command_of_an_agent_does_not_outlive_it(claude_path: str, command: str, temp_root: Path) -> None:
    """Not even one that has left the group."""
    seconds = str(1_000_000 + os.getpid())
    call = ms.tool_call("Bash", {"command": command.format(seconds), "timeout": 600_000}, "done")
    with rs.serve(call) as server:
        allow = {"permissions": {"allow": ["Bash"]}}
        subject = provider(claude_path, server.base_url, agent=True, tools=["Bash"], extra_config=allow)

        async def cancelled() -> None:
            task = asyncio.create_task(subject.complete_async(ask("Wait."), HANG))
            while not processes(f"sleep\0{seconds}") and not task.done():
                await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancelled())
    assert gone(seconds)
    assert list(temp_root.iterdir()) == []
