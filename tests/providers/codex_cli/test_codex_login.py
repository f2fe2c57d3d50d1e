"""Logins and keys of the provider `codex_cli`, and what the doctor reports about them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from helpers import fake_codex
from helpers.agent_calls import KEY, TOKEN, complete, failure
from helpers.codex_support import provider, service, settings_of
from helpers.fake_codex import FakeCodex
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.codex_cli import CodexCLIProvider

# Login and key


def test_the_service_gets_a_copy_of_the_login_and_of_nothing_else(codex: FakeCodex, machine: Path) -> None:
    complete(service(codex))
    assert codex.run["home"] == {"auth.json": (machine / ".codex/auth.json").read_text()}
    assert "requires_openai_auth=true" in settings_of(codex.run)["model_providers.lee_llm_router"]


def test_the_login_is_looked_for_in_codex_home(
    codex: FakeCodex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path))
    (tmp_path / "auth.json").write_text("{}")
    complete(service(codex))
    assert codex.run["home"] == {"auth.json": "{}"}


def test_a_key_for_the_service_takes_the_place_of_the_login(codex: FakeCodex) -> None:
    complete(service(codex, api_key_env="LEE_TEST_KEY"))
    assert codex.run["env"]["CODEX_API_KEY"] == KEY
    assert codex.run["home"] == {}


@pytest.mark.parametrize("agent", [False, True])
def test_a_given_codex_home_is_used_as_it_is(codex: FakeCodex, machine: Path, agent: bool) -> None:
    """Only an agent reads its config.toml; a completion never does."""
    home = machine / ".codex"
    before = sorted(home.iterdir())
    complete(service(codex, codex_home="~/.codex", agent=agent))
    assert codex.run["env"]["CODEX_HOME"] == str(home)
    assert ("--ignore-user-config" in codex.run["argv"]) is not agent
    assert sorted(home.iterdir()) == before


@pytest.mark.parametrize("how", ["missing", "unreadable"])
def test_without_a_login_nothing_is_started(codex: FakeCodex, machine: Path, how: str) -> None:
    login = machine / ".codex/auth.json"
    login.unlink()
    if how == "unreadable":
        login.mkdir()
    error = failure(service(codex))
    assert (error.failure_type, error.sent) == (F.AUTH, False)
    assert codex.calls == []


@pytest.mark.parametrize("value", [None, "", "ключ"])
def test_a_missing_key_is_reported_before_anything_is_started(
    codex: FakeCodex, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("LEE_TEST_KEY")
    else:
        monkeypatch.setenv("LEE_TEST_KEY", value)
    error = failure(provider(codex))
    assert (error.failure_type, error.sent, error.provider) == (F.AUTH, False, "codex")
    assert codex.calls == []


# A subscription never becomes a bill unasked

SERVICE_KEYS = ("CODEX_API_KEY", "OPENAI_API_KEY")
FOUND = "sk-found-in-the-environment"


@pytest.mark.parametrize("variable", SERVICE_KEYS)
@pytest.mark.parametrize("listed", [False, True])
def test_a_key_that_is_found_is_not_handed_to_codex(
    codex: FakeCodex, monkeypatch: pytest.MonkeyPatch, variable: str, listed: bool
) -> None:
    """Not even where the list of variables to pass on names it: that would bill what the login has paid for."""
    monkeypatch.setenv(variable, FOUND)
    subject = service(codex, env=[variable] if listed else [])
    complete(subject)
    assert FOUND not in codex.run["env"].values()
    assert "auth.json" in codex.run["home"]
    assert ("ok", f"{variable} is set but not used: name it in api_key_env to pay with it") in list(subject.check())


@pytest.mark.parametrize("variable", SERVICE_KEYS)
def test_with_paid_ok_a_key_that_is_found_is_used(
    codex: FakeCodex, machine: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """In the place of the login, and also where there is none; it is a secret then."""
    monkeypatch.setenv(variable, FOUND)
    subject = service(codex, paid_ok=True)
    complete(subject)
    assert codex.run["env"]["CODEX_API_KEY"] == FOUND
    assert codex.run["home"] == {}
    assert list(subject.secrets()) == [FOUND]
    assert ("warning", f"calls are billed to the key in {variable}, which paid_ok allows") in list(subject.check())


def test_with_paid_ok_and_no_key_the_login_is_used(codex: FakeCodex) -> None:
    complete(service(codex, paid_ok=True))
    assert "auth.json" in codex.run["home"]


def test_a_key_that_is_found_is_for_the_service_alone(codex: FakeCodex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another server does not get it, whatever may be paid."""
    monkeypatch.setenv("OPENAI_API_KEY", FOUND)
    complete(provider(codex, api_key_env=None, paid_ok=True))
    assert FOUND not in codex.run["env"].values()


def test_a_key_that_is_named_is_used_beside_a_login_and_the_doctor_says_who_pays(
    codex: FakeCodex, machine: Path
) -> None:
    subject = service(codex, api_key_env="LEE_TEST_KEY")
    complete(subject)
    assert codex.run["env"]["CODEX_API_KEY"] == KEY
    login = machine / ".codex/auth.json"
    said = ("warning", f"calls are billed to the key of LEE_TEST_KEY, not to the login ({login})")
    assert said in list(subject.check())
    login.unlink()
    assert "warning" not in levels(subject)


def test_another_variable_cannot_replace_the_key_that_is_named(
    codex: FakeCodex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_API_KEY", FOUND)
    complete(service(codex, api_key_env="LEE_TEST_KEY", env=["CODEX_API_KEY"]))
    assert codex.run["env"]["CODEX_API_KEY"] == KEY


RENEWED = json.dumps({"tokens": {"access_token": "renewed-token-0123456789"}})
RENEW = f"open(os.environ['CODEX_HOME'] + '/auth.json', 'w').write({RENEWED!r})"


def test_a_renewed_login_is_kept(codex: FakeCodex, machine: Path) -> None:
    """A renewed login invalidates the old one, so discarding it would log the user out."""
    login = machine / ".codex/auth.json"
    login.chmod(0o600)
    codex.script(fake_codex.failure("bad token renewed-token-0123456789"), before=RENEW, exit=1)
    error = failure(service(codex))
    assert login.read_text() == RENEWED
    assert stat.S_IMODE(login.stat().st_mode) == 0o600
    assert "renewed-token" not in str(error)
    assert sorted(path.name for path in login.parent.iterdir()) == ["AGENTS.md", "auth.json"]


def test_a_renewed_login_is_kept_where_a_link_leads(codex: FakeCodex, machine: Path, tmp_path: Path) -> None:
    login, real = machine / ".codex/auth.json", tmp_path / "real.json"
    login.rename(real)
    login.symlink_to(real)
    codex.script(before=RENEW)
    complete(service(codex))
    assert (login.is_symlink(), real.read_text()) == (True, RENEWED)


@pytest.mark.parametrize(
    "before",
    [
        "open(os.environ['CODEX_HOME'] + '/auth.json', 'w').write('{broken')",
        "open(os.environ['CODEX_HOME'] + '/auth.json', 'w').write('[]')",
        "os.unlink(os.environ['CODEX_HOME'] + '/auth.json')",
        "open(os.environ['CODEX_HOME'] + '/auth.json', 'w').write('{}')",
        "open(os.environ['CODEX_HOME'] + '/auth.json', 'w').write('{\"tokens\": null, \"last_refresh\": \"2027\"}')",
        "open(os.environ['CODEX_HOME'] + '/auth.json', 'w').write('{\"tokens\": {\"access_token\": \"\"}}')",
        "open(os.environ['CODEX_HOME'] + '/auth.json', 'w', encoding='utf-16').write('{\"tokens\": {\"a\": \"b\"}}')",
    ],
)
def test_a_broken_or_emptied_copy_does_not_touch_the_login(codex: FakeCodex, machine: Path, before: str) -> None:
    login = (machine / ".codex/auth.json").read_bytes()
    codex.script(before=before)
    assert complete(service(codex)).text == "hello"
    assert (machine / ".codex/auth.json").read_bytes() == login


def test_a_login_changed_meanwhile_is_left_as_it_is(codex: FakeCodex, machine: Path) -> None:
    login = machine / ".codex/auth.json"
    codex.script(before=f"{RENEW}\nopen({str(login)!r}, 'w').write('{{}}')")
    complete(service(codex))
    assert login.read_text() == "{}"


def test_a_renewed_login_that_cannot_be_kept_is_logged_and_does_no_harm(
    codex: FakeCodex, machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the disk is full the answer is still returned, the old login stays, and no partial file is left."""

    def full(self: Path, target: object) -> None:
        raise OSError(28, "No space left on device")

    before = (machine / ".codex/auth.json").read_bytes()
    codex.script(before=RENEW)
    monkeypatch.setattr(Path, "replace", full)
    assert complete(service(codex)).text == "hello"
    assert (machine / ".codex/auth.json").read_bytes() == before
    assert len(list((machine / ".codex").iterdir())) == 2
    assert "could not be kept" in caplog.text


def test_key_and_tokens_are_secrets(codex: FakeCodex, machine: Path) -> None:
    assert list(provider(codex).secrets()) == [KEY]
    assert list(service(codex).secrets()) == [TOKEN]
    (machine / ".codex/auth.json").write_text("{broken")
    assert list(service(codex).secrets()) == []


def test_no_secret_is_in_an_error(codex: FakeCodex) -> None:
    codex.script(fake_codex.failure(f"unexpected status 401 Unauthorized: bad key {KEY}"), exit=1)
    error = failure(provider(codex))
    assert KEY not in f"{error} {error!r}"
    assert "bad key ***" in error.message


def test_a_long_message_is_bounded_and_printable(codex: FakeCodex) -> None:
    codex.script(fake_codex.failure("\x1b[31m\n" + "x" * 100_000), exit=1)
    error = failure(provider(codex))
    assert len(error.message) <= 500
    assert error.message.isprintable()


# The doctor


def levels(subject: CodexCLIProvider) -> list[str]:
    return [level for level, _ in subject.check()]


def test_the_doctor_names_program_version_and_key(codex: FakeCodex) -> None:
    found = list(provider(codex).check())
    assert found == [("ok", f"{codex.path}: codex-cli 0.169.0"), ("ok", "environment variable LEE_TEST_KEY is set")]
    assert KEY not in str(found)


def test_the_doctor_looks_for_the_login(codex: FakeCodex, machine: Path, tmp_path: Path) -> None:
    """The login of a configured home may be in a keyring, so a missing file is only a warning there."""
    assert levels(service(codex)) == ["ok", "ok"]
    assert levels(service(codex, codex_home=str(tmp_path))) == ["ok", "warning"]
    (machine / ".codex/auth.json").unlink()
    [_, (level, sentence)] = service(codex).check()
    assert level == "error"
    assert "codex login" in sentence
    assert levels(provider(codex, api_key_env=None)) == ["ok"]


def test_the_doctor_names_missing_flags(new_codex: FakeCodex) -> None:
    """Without one that a promise depends on codex would not run; others are left out."""
    new_codex.script(help="--json --sandbox --cd --model --config --color --skip-git-repo-check --ephemeral")
    [_, (level, sentence), _] = provider(new_codex).check()
    assert level == "warning"
    assert "--ignore-rules, --ignore-user-config, --output-schema" in sentence
    new_codex.path.write_text(new_codex.path.read_text() + "# another version")
    new_codex.script(help="--json --cd --model --config")
    assert [level for level, sentence in provider(new_codex).check() if "--sandbox" in sentence] == ["error"]


def test_the_doctor_names_what_is_missing(codex: FakeCodex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEE_TEST_KEY")
    subject = provider(codex, command="no-such-codex", workspace="/nonexistent", codex_home="/nonexistent")
    assert levels(subject) == ["error"] * 4
    codex.script(version="")
    assert levels(provider(codex))[0] == "error"
