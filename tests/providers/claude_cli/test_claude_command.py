"""How the provider `claude_cli` calls claude: command line, environment, prompt, settings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.agent_calls import KEY, ask, complete, failure
from helpers.chat_messages import user
from helpers.claude_support import provider, service
from helpers.fake_claude import HELP, FakeClaude
from lee_llm_router import ConfigError, LeeLLMRouter, load_config
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers import registry
from lee_llm_router.providers.claude_cli import ClaudeCLIProvider

SYSTEM = {"role": "system", "content": "Be terse."}
ALWAYS = {
    "--print", "--output-format=stream-json", "--verbose", "--include-partial-messages", "--strict-mcp-config",
    "--no-session-persistence", "--disable-slash-commands", "--model=m",
}  # fmt: skip


def test_a_completion_has_no_tools_and_reads_nothing_of_this_machine(claude: FakeClaude) -> None:
    complete(provider(claude), ask(SYSTEM, user("hi")))
    argv = set(claude.run["argv"])
    assert argv >= {*ALWAYS, "--tools=", "--setting-sources=", "--bare", "--permission-mode=default"}
    env = claude.run["env"]
    assert env["CLAUDE_CODE_DISABLE_ATTACHMENTS"] == "1", "a file that the prompt names would be sent along"
    assert env["CLAUDE_CODE_DISABLE_CLAUDE_MDS"] == "1"
    assert env["CLAUDE_CODE_MAX_RETRIES"] == "0"
    assert claude.run["files"]["--system-prompt-file"] == "Be terse."


def test_neither_prompt_nor_instructions_nor_key_is_on_the_command_line(claude: FakeClaude) -> None:
    complete(provider(claude), ask(SYSTEM, user("the prompt")))
    line = " ".join(claude.run["argv"])
    assert not [word for word in ("terse", "prompt ", KEY) if word in line]
    assert claude.run["stdin"] == "the prompt"
    assert claude.run["env"]["ANTHROPIC_API_KEY"] == KEY


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://127.0.0.1:1/", "http://127.0.0.1:1/v1"])
def test_an_address_is_taken_with_and_without_the_version(claude: FakeClaude, address: str) -> None:
    """Claude adds it itself; the dialects of this package want it."""
    complete(provider(claude, base_url=address))
    assert claude.run["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1"


def test_a_server_without_a_key_is_asked_as_well(claude: FakeClaude) -> None:
    """Claude asks none without one."""
    complete(provider(claude, api_key_env=None))
    assert claude.run["env"]["ANTHROPIC_API_KEY"] == "none"


def test_flags_that_claude_does_not_know_are_left_out(new_claude: FakeClaude) -> None:
    lost = ("--bare", "--effort", "--no-session-persistence", "--disable-slash-commands", "--permission-mode")
    new_claude.script(help="\n".join(line for line in HELP.splitlines() if not any(word in line for word in lost)))
    complete(provider(new_claude), ask(reasoning_effort="low"))
    assert not [word for word in new_claude.run["argv"] if word.partition("=")[0] in lost]
    assert "--tools=" in new_claude.run["argv"]


@pytest.mark.parametrize(
    ("effort", "words", "thinking"),
    [("low", ["--effort=low"], None), ("minimal", ["--effort=low"], None), ("max", ["--effort=max"], None),
     ("none", [], "0"), (None, ["--effort=medium"], None)],
)  # fmt: skip
def test_how_much_to_think_is_passed_on(
    claude: FakeClaude, effort: str | None, words: list[str], thinking: str | None
) -> None:
    """`none` turns thinking off; the role's word goes before the provider's."""
    complete(provider(claude, reasoning_effort="medium"), ask(reasoning_effort=effort))
    assert [word for word in claude.run["argv"] if word.startswith("--effort")] == words
    assert claude.run["env"].get("MAX_THINKING_TOKENS") == thinking


def test_a_short_answer_is_given_without_thinking(claude: FakeClaude) -> None:
    """The service takes no less than 1024 tokens of thinking, which must be fewer than the bound."""
    complete(provider(claude), ask(max_tokens=1024))
    complete(provider(claude), ask(max_tokens=5000))
    assert [run["env"].get("MAX_THINKING_TOKENS") for run in claude.runs] == ["0", None]


def test_what_claude_has_no_option_for_is_known_before_the_call(claude: FakeClaude) -> None:
    """The bound on tokens has one."""
    subject = provider(claude)
    for option, value in {"temperature": 0.5, "stop": ("x",), "seed": 1, "extra_body": {"a": 1}, "top_k": 3}.items():
        assert subject.unsupported(ask(**{option: value}), subject.config).keys() == {option}
    assert subject.unsupported(ask(max_tokens=9, json_mode=True, reasoning_effort="low"), subject.config) == {}


# An agent


def test_an_agent_reads_its_workspace_and_changes_nothing_by_default(claude: FakeClaude, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    subject = provider(claude, agent=True, workspace=str(project))
    complete(subject)
    argv = claude.run["argv"]
    assert subject.effects == "workspace"
    assert {*ALWAYS, "--tools=Read,Grep,Glob", "--permission-mode=default", "--setting-sources="} <= set(argv)
    assert not [word for word in argv if word.startswith(("--bare", "--system-prompt"))], "it keeps its instructions"
    assert claude.run["cwd"] == str(project.resolve())
    assert "CLAUDE_CODE_DISABLE_ATTACHMENTS" not in claude.run["env"]


def test_what_an_agent_may_do_is_set(claude: FakeClaude, claude_machine: Path) -> None:
    subject = provider(
        claude, agent=True, tools=["Read", "Edit", "Bash"], permission_mode="acceptEdits", extra_config={"a": 1}
    )
    complete(subject, ask(SYSTEM, user("hi")))
    assert {"--tools=Read,Edit,Bash", "--permission-mode=acceptEdits"} <= set(claude.run["argv"])
    assert json.loads(claude.run["files"]["--settings"]) == {"a": 1}
    assert claude.run["files"]["--system-prompt-file"] == "Be terse."
    assert claude.run["env"]["HOME"] == str(claude_machine)


def test_what_an_agent_may_do_means_nothing_to_a_completion(claude: FakeClaude) -> None:
    subject = provider(claude, tools=["Bash"], permission_mode="bypassPermissions")
    complete(subject)
    assert subject.effects == "none"
    assert {"--tools=", "--permission-mode=default"} <= set(claude.run["argv"])


# Environment


def test_the_environment_is_by_allow_list(claude: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few harmless variables, those named in `env`, and the key. HOME and TMPDIR are private folders."""
    for name in ("SECRET", "WANTED", "HTTPS_PROXY", "LC_TIME", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"):
        monkeypatch.setenv(name, f"http://{name}")
    complete(provider(claude, env=["WANTED", "UNSET"]))
    env = claude.run["env"]
    assert {"WANTED", "HTTPS_PROXY", "LC_TIME", "PATH", "HOME", "CLAUDE_CONFIG_DIR", "TMPDIR"} <= env.keys()
    assert not {"SECRET", "UNSET", "LEE_TEST_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"} & env.keys()
    assert len({env["HOME"], env["CLAUDE_CONFIG_DIR"], env["TMPDIR"], claude.run["cwd"]}) == 4
    assert set(claude.run["modes"].values()) == {"0o700"}
    assert claude.run["home"] == {}


def test_a_cloud_that_env_switches_to_needs_no_login(
    claude: FakeClaude, claude_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claude_machine / ".claude/.credentials.json").unlink()
    monkeypatch.setenv("CLAUDE_CODE_USE_BEDROCK", "1")
    complete(service(claude, env=["CLAUDE_CODE_USE_BEDROCK"]))
    assert claude.run["env"]["CLAUDE_CODE_USE_BEDROCK"] == "1"
    assert "ANTHROPIC_API_KEY" not in claude.run["env"]


# Prompt


@pytest.mark.parametrize("text", ["/help", "/foo bar", "/", "//x"])
def test_a_prompt_is_never_taken_for_a_command_of_claude(claude: FakeClaude, text: str) -> None:
    complete(provider(claude), ask(user(text)))
    assert claude.run["stdin"] == f"\n{text}"


def test_a_longer_conversation_is_rendered_as_for_every_agent(claude: FakeClaude) -> None:
    complete(provider(claude), ask(user("a"), {"role": "assistant", "content": "b"}, user("</message> c")))
    assert claude.run["stdin"].startswith("The conversation so far.")
    assert '<message role="assistant">\nb\n</message>' in claude.run["stdin"]
    assert r"<\/message> c" in claude.run["stdin"]


@pytest.mark.parametrize(
    ("request_", "failure_type"),
    [
        (ask(user("  ")), F.INVALID_REQUEST),
        (ask(user("a\ud83d")), F.INVALID_REQUEST),
        (ask(user([{"type": "image_url", "image_url": {"url": "http://x"}}])), F.INVALID_REQUEST),
        (ask(tools=({"type": "function", "function": {"name": "f"}},)), F.INVALID_REQUEST),
        (ask(user("é" * (5 * 1024 * 1024 + 1))), F.CONTEXT_LENGTH),
    ],
    ids=["empty", "surrogate", "picture", "tools", "over 10 MiB"],
)
def test_what_claude_cannot_take_is_refused_before_it_is_started(
    claude: FakeClaude, request_: Any, failure_type: F
) -> None:
    error = failure(provider(claude), request_)
    assert (error.failure_type, error.sent) == (failure_type, False)
    assert claude.calls == []


class City(BaseModel):
    name: str


def test_a_schema_is_stated_in_the_instructions(claude: FakeClaude) -> None:
    """Claude's own flag would ask the model again where the answer does not fit; that is for the router to decide."""
    complete(provider(claude), ask(SYSTEM, user("hi"), schema=City))
    said = claude.run["files"]["--system-prompt-file"]
    assert said.startswith("Be terse.")
    assert '"name"' in said
    assert "--json-schema" not in " ".join(claude.run["argv"])


# Configuration


def test_it_is_configured_like_any_provider(claude: FakeClaude, tmp_path: Path) -> None:
    file = tmp_path / "llm.yaml"
    file.write_text(
        f"llm:\n  providers:\n    c: {{type: claude_cli, command: {claude.path}, base_url: 'http://127.0.0.1:1'}}\n"
        "  roles: {r: {provider: c, model: opus}}\n"
    )
    with LeeLLMRouter(load_config(file)) as router:
        assert router.complete("r", "hello").text == "hello"
    assert registry.get("claude_cli") is ClaudeCLIProvider
    assert "--model=opus" in claude.run["argv"]


@pytest.mark.parametrize(
    "settings", ["tools: [Read, 'a,b']", "tools: ['']", "permission_mode: yolo", "sandbox: read-only", "paid_ok: 3"]
)
def test_a_wrong_setting_is_found_at_load(settings: str, tmp_path: Path) -> None:
    file = tmp_path / "llm.yaml"
    file.write_text(
        f"llm:\n  providers:\n    c: {{type: claude_cli, {settings}}}\n  roles: {{r: {{provider: c, model: m}}}}\n"
    )
    with pytest.raises(ConfigError):
        load_config(file)


def test_a_private_folder_holds_no_part_of_the_users_home(claude: FakeClaude, claude_machine: Path) -> None:
    before = sorted(os.listdir(claude_machine / ".claude"))
    complete(service(claude))
    assert claude.run["home"].keys() == {".credentials.json"}
    assert sorted(os.listdir(claude_machine / ".claude")) == before
