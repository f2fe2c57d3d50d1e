"""`doctor --fix` repairs what is certain, by position and as a whole, and shows no secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lee_llm_router._util.atomic_file import replace_file
from lee_llm_router.doctor import diagnose
from lee_llm_router.doctor.fixes import Repair, planned_repairs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("Q", "B"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def planned(here: Path, text: str | None = None) -> list[Repair]:
    if text is not None:
        (here / "c.yaml").write_bytes(text.encode())
    return planned_repairs(diagnose(here / "c.yaml"))


def repaired(here: Path, text: str) -> str:
    """The file after its repairs, as often as there are any."""
    for repair in planned(here, text):
        repair.apply()
    return (here / "c.yaml").read_bytes().decode()


HEAD = "# mine\r\nllm:\n"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (
            HEAD
            + "  providers:   # all\n    p: {type: mock,  respnse_text:   hello}  # x\n  roles: {r: {provider: p}}",
            HEAD
            + "  providers:   # all\n    p: {type: mock,  response_text:   hello}  # x\n  roles: {r: {provider: p}}",
        ),
        (
            "llm:\n  providrs: {p: {type: mock}}\n  roles: {r: {provder: p, temperatur: 1}}\n",
            "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p, temperature: 1}}\n",
        ),
        (
            "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p, \"temperatur\": 1, 'max_token': 5}}\n",
            "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p, \"temperature\": 1, 'max_tokens': 5}}\n",
        ),
        ("lm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p}}\n", None),
        ("llm:\n  providers: {größe: {type: mock, ehco: true}}\n  roles: {r: {provider: größe}}\n", "echo"),
    ],
)
def test_keys_that_were_meant_are_written_and_all_else_stays(here: Path, wrong: str, right: str | None) -> None:
    """Comments, quotes, blanks and line ends are as they were."""
    result = repaired(here, wrong)
    if right is None:
        assert result == wrong.replace("lm:", "llm:", 1)
    elif right == "echo":
        assert result == wrong.replace("ehco", "echo")
    else:
        assert result == right
    assert not [one for one in diagnose(here / "c.yaml") if one.level == "error"]


@pytest.mark.parametrize(
    "settings",
    [
        "temperature: 1, temperatur: 0.5",  # both are there
        "temperatur: hot",  # the right key would be wrong too
        "colour: red",  # nothing is near
        "sampling: 1",
        "api_key: abcdefgh",
    ],
)
def test_what_is_not_certain_stays(here: Path, settings: str) -> None:
    """A key is renamed only where fewer mistakes are left by it."""
    text = f"llm:\n  providers: {{p: {{type: mock}}}}\n  roles: {{r: {{provider: p, {settings}}}}}\n"
    assert repaired(here, text) == text


def test_a_key_whose_value_comes_from_the_env_file_is_repaired(here: Path) -> None:
    (here / ".env").write_text("Q=hello\n")
    (here / ".env").chmod(0o600)
    text = 'llm:\n  providers: {p: {type: mock, respnse_text: "${Q}"}}\n  roles: {r: {provider: p}}\n'
    assert repaired(here, text) == text.replace("respnse", "response")


def test_values_of_the_env_file_lose_quotes_blanks_and_carriage_returns(here: Path) -> None:
    """Other lines stay, and the mode; no value is shown."""
    env = here / ".env"
    env.write_bytes(b'# keys\r\nexport Q=\'"se cret"\'\r\nB = "blanks "\r\nC=c\r\n')
    env.chmod(0o640 & ~0o040)
    (repair,) = planned(
        here, 'llm:\n  providers: {p: {type: mock, response_text: "${Q}${B}"}}\n  roles: {r: {provider: p}}\n'
    )
    assert "cret" not in "\n".join(repair.lines())
    repair.apply()
    assert env.read_bytes() == b"# keys\nexport Q='se cret'\nB = \"blanks\"\nC=c\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert planned(here) == []


def test_modes_are_narrowed_and_never_widened(here: Path) -> None:
    (here / ".env").write_text("Q=a\n")
    (here / ".env").chmod(0o444)
    (here / "t").mkdir(mode=0o755)
    (here / "key").write_text("abcdefghijklmnop\n")
    (here / "key").chmod(0o666)
    repairs = planned(
        here,
        "llm:\n  providers: {p: {type: groq, model: m, api_key_file: key}}\n  roles: {r: {provider: p}}\n"
        "  trace: {dir: t}\n",
    )
    for repair in repairs:
        repair.apply()
    modes = {name: stat.S_IMODE((here / name).stat().st_mode) for name in (".env", "t", "key")}
    assert modes == {".env": 0o400, "t": 0o700, "key": 0o600}


def test_git_is_told_to_leave_the_env_file_alone(here: Path) -> None:
    (here / ".git").mkdir()
    (here / ".env").write_text("Q=a\n")
    (here / ".env").chmod(0o600)
    (here / ".gitignore").write_text("*.log")
    (repair,) = planned(here, "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p}}\n")
    repair.apply()
    assert (here / ".gitignore").read_text() == "*.log\n.env\n"
    (here / ".gitignore").unlink()
    (repair,) = planned(here)
    repair.apply()
    assert (here / ".gitignore").read_text() == ".env\n"


def test_no_secret_is_shown(here: Path) -> None:
    """A line that holds a key is shown up to its first colon."""
    repairs = planned(
        here,
        "llm:\n  providers: {p: {type: ollama, heders: {}, headers: {Authorization: hunter2}}}\n"
        "  roles: {r: {provider: p, temperatur: 1}}  # sk-ant-abcdefghijklmnopqrstuvwx\n",
    )
    shown = "\n".join(line for repair in repairs for line in repair.lines())
    assert "temperatur" not in shown or "abcdefghijkl" not in shown
    assert "hunter2" not in shown


def test_a_file_that_was_changed_meanwhile_is_left_alone(here: Path) -> None:
    (repair,) = planned(here, "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provder: p}}\n")
    (here / "c.yaml").write_text("something else\n")
    with pytest.raises(OSError, match="changed in the meantime"):
        repair.apply()
    assert (here / "c.yaml").read_text() == "something else\n"
    assert sorted(os.listdir(here)) == ["c.yaml"]


def test_a_link_stays_a_link_and_a_new_file_takes_no_ones_place(here: Path) -> None:
    (here / "real").write_text("old")
    (here / "real").chmod(0o640)
    (here / "link").symlink_to("real")
    replace_file(here / "link", b"new", (here / "link").stat())
    assert (here / "link").is_symlink()
    assert (here / "real").read_text() == "new"
    assert stat.S_IMODE((here / "real").stat().st_mode) == 0o640
    with pytest.raises(OSError, match="in the meantime"):
        replace_file(here / "real", b"newer", None)
    assert (here / "real").read_text() == "new"


def test_the_login_of_an_agent_is_closed_to_others(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.delenv("CODEX_HOME", raising=False)
    (here / ".codex").mkdir()
    login = here / ".codex" / "auth.json"
    login.write_text("{}")
    login.chmod(0o644)
    repairs = planned(here, "llm:\n  providers: {p: {type: codex_cli, command: none}}\n  roles: {r: {provider: p}}\n")
    assert [(repair.check, repair.path) for repair in repairs] == [("LLR516", login)]
    repairs[0].apply()
    assert stat.S_IMODE(login.stat().st_mode) == 0o600
    assert planned(here) == []
