"""How the provider `codex_cli` calls codex: command line, environment, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from helpers import fake_codex
from helpers.agent_calls import FOREVER, KEY, ask, complete, failure
from helpers.chat_messages import user
from helpers.codex_support import provider, settings_of
from helpers.fake_codex import FakeCodex
from lee_llm_router import load_config
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers import registry
from lee_llm_router.providers.codex_cli import CodexCLIConfig, CodexCLIProvider

# What codex is given


def test_the_prompt_is_on_standard_input_and_the_key_in_the_environment_only(codex: FakeCodex) -> None:
    text = "--help resume $(id) \u2028 'quoted' \"\n"
    complete(provider(codex), ask(user(text)))
    assert codex.run["stdin"] == text
    assert codex.run["env"]["LEE_LLM_ROUTER_CODEX_KEY"] == KEY
    line = "\0".join(codex.run["argv"])
    assert KEY not in line
    assert "$(id)" not in line
    assert codex.run["argv"][-2:] == ["--", "-"]
    assert codex.run["argv"][0] == "exec"


def test_its_own_retries_and_calls_home_are_off(codex: FakeCodex) -> None:
    complete(provider(codex))
    settings = settings_of(codex.run)
    defined = settings["model_providers.lee_llm_router"]
    assert settings["model_provider"] == '"lee_llm_router"'
    assert "request_max_retries=0,stream_max_retries=0" in defined
    assert 'base_url="http://127.0.0.1:1/v1",env_key="LEE_LLM_ROUTER_CODEX_KEY"' in defined
    off = ("features.unbounded_connection_retries", "analytics.enabled", "check_for_update_on_startup")
    assert [settings[name] for name in off] == ["false"] * 3


def test_a_completion_has_no_tools_and_no_effects(codex: FakeCodex) -> None:
    subject = provider(codex)
    complete(subject)
    settings = settings_of(codex.run)
    assert subject.effects == "none"
    assert settings["features.shell_tool"] == settings["features.unified_exec"] == "false"
    assert settings["shell_environment_policy.inherit"] == '"none"'
    assert {"--sandbox=read-only", "--ephemeral", "--ignore-user-config", "--ignore-rules"} <= set(codex.run["argv"])


def test_an_agent_has_its_tools_and_works_in_the_workspace(codex: FakeCodex, tmp_path: Path, machine: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    subject = provider(codex, agent=True, sandbox="workspace-write", workspace=str(project))
    complete(subject)
    settings = settings_of(codex.run)
    assert subject.effects == "workspace"
    assert "features.shell_tool" not in settings
    assert "model_instructions_file" not in settings, "an agent keeps its own instructions"
    assert settings["shell_environment_policy.inherit"] == '"core"'
    assert {"--sandbox=workspace-write", f"--cd={project}", "--ignore-user-config"} <= set(codex.run["argv"])
    assert (codex.run["cwd"], codex.run["env"]["HOME"]) == (str(project.resolve()), str(machine))


def test_the_environment_is_by_allow_list(codex: FakeCodex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few harmless variables, those named in `env`, and the key. HOME and TMPDIR are private folders."""
    for name in ("SECRET", "WANTED", "HTTPS_PROXY", "LC_TIME", "OPENAI_API_KEY", "CODEX_API_KEY"):
        monkeypatch.setenv(name, f"http://{name}")
    complete(provider(codex, env=["WANTED", "UNSET"]))
    env = codex.run["env"]
    assert {"WANTED", "HTTPS_PROXY", "LC_TIME", "PATH", "HOME", "CODEX_HOME", "TMPDIR"} <= env.keys()
    assert not {"SECRET", "OPENAI_API_KEY", "CODEX_API_KEY", "UNSET", "LEE_TEST_KEY"} & env.keys()
    assert len({env["HOME"], env["CODEX_HOME"], env["TMPDIR"], codex.run["cwd"]}) == 4
    assert set(codex.run["modes"].values()) == {"0o700"}


def test_a_variable_named_in_env_wins_over_a_private_folder(codex: FakeCodex, machine: Path) -> None:
    complete(provider(codex, env=["HOME"]))
    assert codex.run["env"]["HOME"] == str(machine)


def test_a_server_without_a_key_gets_none(codex: FakeCodex) -> None:
    complete(provider(codex, api_key_env=None))
    assert "env_key" not in settings_of(codex.run)["model_providers.lee_llm_router"]
    assert codex.run["home"] == {}


def test_model_and_effort_are_the_calls_else_the_providers_own(codex: FakeCodex) -> None:
    subject = provider(codex, model="own", reasoning_effort="high")
    complete(subject, ask(model=None))
    complete(subject, ask(model="-x", reasoning_effort="low"))
    complete(provider(codex), ask(model=None))
    first, second, third = codex.runs
    assert "--model=own" in first["argv"]
    assert settings_of(first)["model_reasoning_effort"] == '"high"'
    assert "--model=-x" in second["argv"]
    assert settings_of(second)["model_reasoning_effort"] == '"low"'
    assert not any(word.startswith("--model") for word in third["argv"])


def test_further_settings_are_written_as_toml_and_come_last(codex: FakeCodex) -> None:
    extra = {
        "text": 'a "quoted" \\ line\n\u2028é', "number": 1.5, "truth": True, "features.shell_tool": True,
        "list": ["a", 1], "table": {"key": False, "a key": []},
    }  # fmt: skip
    complete(provider(codex, extra_config=extra))
    settings = settings_of(codex.run)
    assert settings["text"] == r'"a \"quoted\" \\ line\U0000000A\U00002028é"'
    assert (settings["number"], settings["truth"], settings["list"]) == ("1.5", "true", '["a",1]')
    assert settings["table"] == '{key=false,"a key"=[]}'
    assert settings["features.shell_tool"] == "true"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sandbox": "none"}, {"term_grace": -1}, {"max_output_bytes": 3}, {"env": ["A=B"]}, {"base_url": "127.0.0.1"},
        {"extra_config": {"a=b": 1}}, {"extra_config": {"": 1}}, {"extra_config": {"-c": 1}},
        {"extra_config": {"a": None}}, {"command": ""}, {"unknown": 1},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CodexCLIConfig(**wrong)


def test_every_setting_is_described_and_loads_from_a_file() -> None:
    assert all(field.description for field in CodexCLIConfig.model_fields.values())
    config = load_config(
        "llm:\n  providers:\n    c: {type: codex_cli, sandbox: read-only, env: [A], extra_config: {x.y: 1}}\n"
        "  roles:\n    r: {provider: c}\n"
    )
    assert isinstance(config.providers["c"], CodexCLIConfig)
    assert registry.get("codex_cli") is CodexCLIProvider


# Flags an older codex lacks


def test_flags_the_program_does_not_know_are_left_out(new_codex: FakeCodex) -> None:
    """The help is read once for each program, and again after the program was replaced."""
    old = "\n".join(line for line in fake_codex.HELP.splitlines() if "--e" not in line and "--i" not in line)
    new_codex.script(help=old)
    for _ in range(2):
        complete(provider(new_codex))
    assert len(new_codex.calls) == 3
    assert not {"--ephemeral", "--ignore-user-config", "--ignore-rules"} & set(new_codex.runs[0]["argv"])
    assert {"--skip-git-repo-check", "--color=never", "--json"} <= set(new_codex.runs[0]["argv"])
    new_codex.path.write_text(new_codex.path.read_text() + "\n# replaced\n")
    new_codex.script()
    complete(provider(new_codex))
    assert "--ephemeral" in new_codex.runs[-1]["argv"]


@pytest.mark.parametrize("how", [{"help": "no flags here"}, {"help_exit": 3}])
def test_without_a_readable_help_all_flags_are_used(new_codex: FakeCodex, how: dict[str, Any]) -> None:
    new_codex.script(**how)
    complete(provider(new_codex))
    assert "--ephemeral" in new_codex.run["argv"]


def test_a_hanging_help_is_a_timeout(new_codex: FakeCodex) -> None:
    new_codex.script(before_help=FOREVER)
    error = failure(provider(new_codex), timeout=0.5)
    assert (error.failure_type, error.sent) == (F.TIMEOUT, False)


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", 0.5), ("top_p", 0.5), ("max_tokens", 9), ("stop", ("x",)), ("seed", 1), ("logprobs", True),
     ("service_tier", "flex"), ("extra_body", {"a": 1}), ("headers", {"X-A": "b"}), ("top_k", 3)],
)  # fmt: skip
def test_what_codex_has_no_option_for_is_known_before_the_call(codex: FakeCodex, option: str, value: Any) -> None:
    subject = provider(codex)
    assert subject.unsupported(ask(**{option: value}), subject.config).keys() == {option}
    assert subject.unsupported(ask(json_mode=True, reasoning_effort="low"), subject.config) == {}
