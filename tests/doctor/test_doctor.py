"""The doctor checks everything a call needs, without the network and without printing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pytest

from helpers import support  # noqa: F401 - registers the scripted provider
from lee_llm_router.config import load_config, template_text
from lee_llm_router.doctor import CONFIG_VARIABLE, CheckResult, diagnose, find_config
from lee_llm_router.errors import AuthenticationError, ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.settings.plugins import PluginSettings

OFFLINE = {"type": "mock"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in an empty folder, with the network refused."""

    def refuse(*_: Any) -> None:
        raise AssertionError("network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def config(**extra: Any) -> dict[str, Any]:
    return {"llm": {"providers": {"offline": OFFLINE}, "roles": {"planner": {"provider": "offline"}}, **extra}}


def of(findings: Iterable[CheckResult], section: str) -> list[tuple[str, str, str]]:
    return [(f.level, f.subject, f.message) for f in findings if f.section == section]


class CheckedConfig(ProviderConfig):
    says: str = "ok"


class Checked(Provider[CheckedConfig]):
    """A provider whose check says what its settings say."""

    config_model = CheckedConfig
    closed = 0

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise AssertionError("the doctor made a call")

    def close(self) -> None:
        type(self).closed += 1

    def check(self) -> Iterable[tuple[Literal["ok", "warning", "error"], str]]:
        if self.config.says == "crash":
            raise RuntimeError("broken with sk-abcdefghijklmnopqrstuvwxyz")
        if self.config.says == "auth":
            raise AuthenticationError("environment variable X is not set")
        yield "ok", "program 1.2.3"
        yield "warning", "old\x1b[31m"


registry.register("checked", Checked, replace=True)


# --- the file ---


def test_a_healthy_configuration_has_only_good_findings(here: Path) -> None:
    """File, provider, traces and role are all ok, and nothing is written."""
    findings = diagnose(config())
    assert [(f.level, f.section) for f in findings] == [("ok", c) for c in ("file", "provider", "traces", "role")]
    assert list(here.iterdir()) == []


def test_the_shipped_template_is_read_and_its_missing_keys_are_errors(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example's providers report what they lack on this machine; the offline role is ok."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (here / "c.yaml").write_text(template_text())
    findings = diagnose(here / "c.yaml")
    assert ("error", "openai", "environment variable OPENAI_API_KEY is not set") in of(findings, "keys")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefghijklmnopqrstuvwxyz")
    findings = diagnose(here / "c.yaml")
    assert {level for level, name, _ in of(findings, "keys") if name == "openai"} == {"ok"}
    assert "abcdefghij" not in repr(findings)
    assert {f.level for f in diagnose(here / "c.yaml", "assistant")} == {"ok"}


def test_every_mistake_of_the_file_is_a_finding(here: Path) -> None:
    """Each finding of the loader is a result, with its position."""
    (here / "c.yaml").write_text(
        "llm:\n  default_role: r\n  providers: {a: {type: mock}}\n  roles: {r: {provider: b}, s: {provider: c}}\n"
    )
    findings = diagnose(here / "c.yaml")
    assert [(f.level, f.section, f.subject) for f in findings] == [
        ("error", "file", f"{here / 'c.yaml'}:4:{column}") for column in (25, 43)
    ]
    assert [str(here) in f.message for f in findings] == [False, False]
    assert diagnose("\0")[0].level == "error"


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_opened_is_an_os_error(here: Path, kind: str) -> None:
    """A file that cannot be opened raises OSError: there is nothing to check."""
    if kind == "folder":
        (here / "c.yaml").mkdir()
    with pytest.raises(OSError):
        diagnose(here / "c.yaml")


def test_a_fifo_does_not_hold_the_doctor(here: Path) -> None:
    """A file that never ends is an error at once."""
    os.mkfifo(here / "c.yaml")
    assert [(f.level, f.section) for f in diagnose(here / "c.yaml")] == [("error", "file")]


def test_a_policy_that_cannot_be_loaded_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its policy no call can be made."""
    loaded = load_config(config()).model_copy(update={"policy": PluginSettings(type="nope")})
    assert of(diagnose(loaded), "policy")[0][:2] == ("error", "nope")


# --- providers ---


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ("ok", [("ok", "p", "program 1.2.3"), ("warning", "p", "old\\x1b[31m")]),
        ("auth", [("error", "p", "environment variable X is not set")]),
        ("crash", [("error", "p", "checking it raised RuntimeError: broken with ***")]),
    ],
)
def test_a_provider_says_itself_what_it_lacks(says: str, found: list[tuple[str, str, str]]) -> None:
    """A provider's words are passed on, escaped; what it raises is a result; it is always closed."""
    Checked.closed = 0
    findings = diagnose(
        {"llm": {"providers": {"p": {"type": "checked", "says": says}}, "roles": {"r": {"provider": "p"}}}}
    )
    assert of(findings, "provider") == found
    assert Checked.closed == 1


def test_with_a_role_only_its_providers_are_looked_at() -> None:
    """With a role given, only the providers of its chain are checked."""
    source = config()
    source["llm"]["providers"] |= {"spare": OFFLINE, "broken": {"type": "checked", "says": "crash"}}
    source["llm"]["roles"] |= {
        "planner": {"provider": "offline", "fallback_providers": ["spare"]},
        "other": {"provider": "broken"},
    }
    source["llm"]["default_role"] = "planner"
    findings = diagnose(source, "planner")
    assert [name for _, name, _ in of(findings, "provider")] == ["offline", "spare"]
    assert of(findings, "role") == [("ok", "planner", "offline, then spare (default role)")]
    assert "error" in {f.level for f in diagnose(source)}


# --- roles ---


def test_an_unknown_role_is_an_error_that_names_the_known() -> None:
    """An unknown role is an error, and not taken for the default role."""
    assert of(diagnose(config(), "plannner"), "role") == [
        ("error", "plannner", "no such role in the configuration (did you mean 'planner'?); there are: planner")
    ]


def test_a_role_whose_answers_cannot_be_checked_is_an_error() -> None:
    """An invalid schema is an error, since it would fail every call."""
    source = config(roles={"r": {"provider": "offline", "schema": {"type": "nonsense"}}})
    (found,) = of(diagnose(source), "role")
    assert found[:2] == ("error", "r")
    assert "not a JSON Schema" in found[2]


# --- traces ---


def test_an_existing_private_folder_is_fine_and_an_open_one_a_warning(here: Path) -> None:
    """Traces may hold what was asked: other users should not read them."""
    folder = here / "t"
    folder.mkdir(mode=0o700)
    assert of(diagnose(config(trace={"dir": "t"})), "traces") == [("ok", str(folder), "writable, and private to you")]
    folder.chmod(0o755)
    ((level, _, message),) = of(diagnose(config(trace={"dir": "t"})), "traces")
    assert (level, "0755" in message) == ("warning", True)


def test_a_folder_that_will_be_made(here: Path) -> None:
    """The folder need not exist yet; the result says when prompts are stored."""
    source = config(trace={"workspace": str(here / "w"), "capture": "full"})
    ((level, subject, message),) = of(diagnose(source), "traces")
    assert (level, subject) == ("ok", str(here / "w/.lee-llm-router/traces"))
    assert message == "will be created when the first trace is written; prompts and answers are stored"


def test_a_folder_that_cannot_be_used_is_an_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder may be a file, forbidden, or have too long a path."""
    (here / "file").touch()
    for folder in ("file", "file/t", "x" * 5000):
        assert of(diagnose(config(trace={"dir": folder})), "traces")[0][0] == "error"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert of(diagnose(config()), "traces") == [
        ("error", str(here / ".lee-llm-router/traces"), f"{here} is not writable")
    ]


def test_traces_may_be_off() -> None:
    """Without traces there is nothing to check."""
    assert of(diagnose(config(trace={"enabled": False})), "traces") == [("ok", "-", "switched off")]


# --- finding the file ---


def test_the_file_is_the_one_named_then_the_variable_then_the_nearest_upward(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each folder lee-llm-router.yaml comes before config/llm.yaml, and a nearer folder before both."""
    deep = here / "a" / "b"
    (here / "config").mkdir()
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    (here / "config" / "llm.yaml").touch()
    assert find_config() == here / "config" / "llm.yaml"
    (here / "lee-llm-router.yaml").touch()
    assert find_config() == here / "lee-llm-router.yaml"
    (here / "a" / "config").mkdir()
    (here / "a" / "config" / "llm.yaml").touch()
    assert find_config() == here / "a" / "config" / "llm.yaml"
    monkeypatch.setenv(CONFIG_VARIABLE, "~/x.yaml")
    assert find_config() == Path.home() / "x.yaml"
    assert find_config("y.yaml") == Path("y.yaml")
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    assert find_config() == here / "a" / "config" / "llm.yaml"


def test_no_file_anywhere_says_where_it_was_looked_for() -> None:
    """The error names all three ways to give a configuration."""
    with pytest.raises(ConfigError, match=r"--config, set LEE_LLM_ROUTER_CONFIG, or put lee-llm-router\.yaml"):
        find_config()
