"""Logins and keys of the provider `claude_cli`, who pays, and what the doctor reports about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import fake_claude as fc
from helpers.agent_calls import KEY, TOKEN, ask, complete, failure
from helpers.claude_support import login, provider, service
from helpers.fake_claude import FakeClaude
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.claude_cli import ClaudeCLIProvider
from lee_llm_router.providers.claude_cli.login import CLAUDE_LOGIN

FOUND = "sk-found-in-the-environment"


def levels(subject: ClaudeCLIProvider) -> list[str]:
    return [level for level, _ in subject.check()]


def test_the_service_gets_the_login_and_nothing_else(claude: FakeClaude, claude_machine: Path) -> None:
    """Claude renews it in the user's home; versions that do not know how to be told where get a copy."""
    complete(service(claude))
    assert claude.run["home"] == {".credentials.json": (claude_machine / ".claude/.credentials.json").read_text()}
    env = claude.run["env"]
    assert env["CLAUDE_SECURESTORAGE_CONFIG_DIR"] == str(claude_machine / ".claude")
    assert "ANTHROPIC_API_KEY" not in env
    assert "--bare" not in claude.run["argv"], "it never looks at a login"


def test_the_login_is_looked_for_in_the_configured_folder(
    claude: FakeClaude, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    (tmp_path / ".credentials.json").write_text("{}")
    complete(service(claude))
    assert claude.run["home"] == {".credentials.json": "{}"}
    assert claude.run["env"]["CLAUDE_SECURESTORAGE_CONFIG_DIR"] == str(tmp_path)


def test_a_login_in_a_variable_is_used_without_a_file(
    claude: FakeClaude, claude_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`claude setup-token` makes it for machines that have no home of the user; it is a secret."""
    (claude_machine / ".claude/.credentials.json").unlink()
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", TOKEN)
    subject = service(claude)
    assert complete(subject).cost_usd is None
    assert claude.run["env"]["CLAUDE_CODE_OAUTH_TOKEN"] == TOKEN
    assert list(subject.secrets()) == [TOKEN]
    assert ("ok", "logged in by CLAUDE_CODE_OAUTH_TOKEN") in list(subject.check())


def test_another_server_never_gets_the_login(claude: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", TOKEN)
    complete(provider(claude))
    assert claude.run["home"] == {}
    assert not {"CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_SECURESTORAGE_CONFIG_DIR"} & claude.run["env"].keys()


@pytest.mark.parametrize("how", ["missing", "unreadable"])
def test_without_a_login_nothing_is_started(claude: FakeClaude, claude_machine: Path, how: str) -> None:
    file = claude_machine / ".claude/.credentials.json"
    file.unlink()
    if how == "unreadable":
        file.mkdir()
    error = failure(service(claude))
    assert (error.failure_type, error.sent) == (F.AUTH, False)
    assert claude.calls == []


# A subscription never becomes a bill unasked


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_key_that_is_found_is_not_handed_to_claude(
    claude: FakeClaude, monkeypatch: pytest.MonkeyPatch, variable: str, listed: bool
) -> None:
    """Claude would prefer it to the login. Not even the list of variables to pass on gives it away."""
    monkeypatch.setenv(variable, FOUND)
    complete(service(claude, env=[variable] if listed else []))
    assert FOUND not in claude.run["env"].values()
    assert ".credentials.json" in claude.run["home"]


def test_with_paid_ok_a_key_that_is_found_is_used(
    claude: FakeClaude, monkeypatch: pytest.MonkeyPatch, claude_machine: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", FOUND)
    subject = service(claude, paid_ok=True)
    assert complete(subject).cost_usd == 0.0125
    assert claude.run["env"]["ANTHROPIC_API_KEY"] == FOUND
    assert claude.run["home"] == {}
    assert list(subject.secrets()) == [FOUND]
    assert ("warning", "calls are billed to the key in ANTHROPIC_API_KEY, which paid_ok allows") in list(
        subject.check()
    )


def test_a_key_that_is_named_is_used_beside_a_login_and_the_doctor_says_who_pays(
    claude: FakeClaude, claude_machine: Path
) -> None:
    subject = service(claude, api_key_env="LEE_TEST_KEY")
    complete(subject)
    assert claude.run["env"]["ANTHROPIC_API_KEY"] == KEY
    file = claude_machine / ".claude/.credentials.json"
    said = f"calls are billed to the key of LEE_TEST_KEY, not to the login ({file})"
    assert ("warning", said) in list(subject.check())


# Renewal


RENEWED = login("renewed-token-0123456789", refresh="renewed-refresh-0123456789")
RENEW = f"open(os.environ['CLAUDE_CONFIG_DIR'] + '/.credentials.json', 'w').write({RENEWED!r})"


def test_a_copy_that_claude_renewed_is_kept(claude: FakeClaude, claude_machine: Path) -> None:
    claude.script(fc.failure("bad renewed-token-0123456789 renewed-refresh-0123456789"), before=RENEW, exit=1)
    error = failure(service(claude))
    assert (claude_machine / ".claude/.credentials.json").read_text() == RENEWED
    assert "renewed" not in error.message


def test_a_login_that_claude_renewed_in_its_place_stays(claude: FakeClaude, claude_machine: Path) -> None:
    claude.script(before=RENEW.replace("CLAUDE_CONFIG_DIR", "CLAUDE_SECURESTORAGE_CONFIG_DIR"))
    complete(service(claude))
    assert (claude_machine / ".claude/.credentials.json").read_text() == RENEWED


def test_a_refusal_of_a_login_that_another_has_renewed_says_nothing(claude: FakeClaude, claude_machine: Path) -> None:
    """The attempt is made once more, with the renewed login, since claude has done nothing yet."""
    file = claude_machine / ".claude/.credentials.json"
    refused = fc.failure(
        "Failed to authenticate. API Error: 401 OAuth token has expired.", "authentication_failed", 401
    )
    lines = "".join(json.dumps(line) + "\n" for line in refused)
    before = (
        f"if open(os.environ['CLAUDE_CONFIG_DIR'] + '/.credentials.json').read() != {RENEWED!r}:\n"
        f"    open({str(file)!r}, 'w').write({RENEWED!r})\n"
        f"    os.write(1, {lines.encode()!r})\n"
        "    os._exit(1)"
    )
    claude.script(before=before)
    assert complete(service(claude)).text == "hello"
    assert len(claude.runs) == 2


def test_when_claude_renews_a_login() -> None:
    now = 1_000_000.0

    def content(ends: float, **fields: object) -> bytes:
        oauth = {"accessToken": "a", "refreshToken": "r", "expiresAt": (now + ends) * 1000, **fields}
        return json.dumps({"claudeAiOauth": oauth}).encode()

    assert CLAUDE_LOGIN.renewal_due(content(60), now)
    assert not CLAUDE_LOGIN.renewal_due(content(3600), now)
    assert not CLAUDE_LOGIN.renewal_due(content(60, refreshToken=""), now)
    assert (CLAUDE_LOGIN.is_over(content(60), now), CLAUDE_LOGIN.is_over(content(-1), now)) == (False, True)
    for odd in (b"", b"[]", b"{}", b'{"claudeAiOauth": 3}', content(0, expiresAt="soon"), content(0, expiresAt=-1)):
        assert not CLAUDE_LOGIN.is_over(odd, now)


# The doctor


def test_the_doctor_names_program_version_and_login(claude: FakeClaude, claude_machine: Path) -> None:
    file = claude_machine / ".claude/.credentials.json"
    assert list(service(claude).check()) == [
        ("ok", f"{claude.path}: 2.1.197 (Claude Code)"), ("ok", f"logged in by {file}"),
    ]  # fmt: skip
    file.unlink()
    [_, (level, sentence)] = service(claude).check()
    assert level == "error"
    assert "/login" in sentence


def test_the_doctor_names_what_is_missing(claude: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEE_TEST_KEY")
    subject = provider(claude, command="no-such-claude", workspace="/nonexistent", claude_home="/nonexistent")
    assert levels(subject) == ["error"] * 4


def test_the_doctor_names_missing_flags(new_claude: FakeClaude) -> None:
    new_claude.script(help=fc.HELP.replace("--tools <tools...>", "").replace("--bare", ""))
    found = list(provider(new_claude).check())
    assert [level for level, sentence in found if "--tools" in sentence] == ["error"]
    assert [level for level, sentence in found if "--bare" in sentence] == ["warning"]


def test_without_a_home_there_is_no_login(claude: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    error = failure(service(claude))
    assert (error.failure_type, error.sent) == (F.AUTH, False)
    assert list(service(claude).secrets()) == []
    assert "error" in levels(service(claude))


def test_a_given_claude_home_is_used_as_it_is(claude: FakeClaude, claude_machine: Path) -> None:
    """Only an agent reads the settings in it."""
    for agent in (False, True):
        complete(service(claude, claude_home="~/.claude", agent=agent), ask())
        run = claude.runs[-1]
        assert run["env"]["CLAUDE_CONFIG_DIR"] == str(claude_machine / ".claude")
        assert ("--setting-sources=" in run["argv"]) is not agent
