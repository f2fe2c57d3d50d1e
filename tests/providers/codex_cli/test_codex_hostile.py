"""A codex, or a tool of its agent, that is faulty or hostile breaks no promise: calls end, and good answers count."""

from __future__ import annotations

import json
import os
import pwd
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers import fake_codex
from helpers.agent_calls import KEY, TOKEN, complete, failure
from helpers.child_support import HANG, alive, linux
from helpers.codex_support import provider, service, settings_of
from helpers.fake_codex import FakeCodex
from helpers.servers import eventually
from lee_llm_router import LeeLLMRouter
from lee_llm_router._util.folder_removal import remove_folder
from lee_llm_router._util.scrubbing import MASK, bounded, quoted, scrub
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.child_process import owned_folder
from lee_llm_router.providers.codex_cli.login import login_secrets

AUTH = "auth = Path(os.environ['CODEX_HOME'], 'auth.json')\nauth.unlink(missing_ok=True)\n"

# What lies in place of the login

IN_ITS_PLACE = {
    "fifo": "os.mkfifo(auth)",
    "socket": "import socket\nos.chdir(auth.parent)\nsocket.socket(socket.AF_UNIX).bind('auth.json')",
    "endless device": "auth.symlink_to('/dev/zero')",
    "terminal": "auth.symlink_to('/dev/tty')",
    "folder": "auth.mkdir()",
    "link to itself": "auth.symlink_to(auth)",
    "link to another file": "auth.with_name('x').write_text('{}')\nauth.symlink_to('x')",
    "huge": "auth.write_bytes(b'{' + b' ' * (1 << 22) + b'}')",
    "deep": "auth.write_text('{\"a\":' * 900 + '1' + '}' * 900)",
    "deeper": "auth.write_text('[' * 200_000)",
}


@pytest.mark.parametrize("kind", IN_ITS_PLACE)
@pytest.mark.parametrize("with_key", [False, True])
def test_whatever_codex_leaves_in_place_of_the_login_the_call_ends(
    codex: FakeCodex, machine: Path, kind: str, with_key: bool
) -> None:
    """And the user's login stays as it was; also where none was lent."""
    before = (machine / ".codex/auth.json").read_bytes()
    codex.script(before=AUTH + IN_ITS_PLACE[kind])
    subject = provider(codex) if with_key else service(codex)
    assert complete(subject).text == "hello"
    kept = (machine / ".codex/auth.json").read_bytes()
    assert kept == before or kind == "deep", "what is a JSON object may be a login"


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_a_login_of_the_user_that_is_no_regular_file_is_an_error_at_once(
    codex: FakeCodex, machine: Path, put: Any
) -> None:
    auth = machine / ".codex/auth.json"
    auth.unlink()
    put(auth)
    error = failure(service(codex))
    assert (error.failure_type, error.sent) == (F.AUTH, False)
    assert str(auth) in error.message
    assert list(service(codex).secrets()) == []
    assert codex.calls == []


# Folders


@pytest.mark.parametrize("depth", [50, 1100])
def test_folders_of_any_depth_are_removed(codex: FakeCodex, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the answer counts (the fixture looks whether the folder for temporary files is empty)."""
    monkeypatch.setattr(owned_folder, "REMOVAL_TIMEOUT", HANG)
    codex.script(before=f"os.chdir(os.environ['TMPDIR'])\nfor _ in range({depth}): os.mkdir('d'); os.chdir('d')")
    assert complete(provider(codex)).text == "hello"


def test_a_removal_that_takes_long_does_not_delay_the_answer(
    codex: FakeCodex, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on in a thread."""
    go_on = threading.Event()
    removed = remove_folder

    def slow(folder: Path) -> bool:
        assert go_on.wait(HANG)
        return removed(folder)

    monkeypatch.setattr(owned_folder, "remove_folder", slow)
    monkeypatch.setattr(owned_folder, "REMOVAL_TIMEOUT", 0.01)
    assert complete(provider(codex)).text == "hello"
    go_on.set()
    assert eventually(lambda: not list((machine.parent / "temp").iterdir()), HANG)


# Events


ODD_EVENTS: list[Any] = [
    {"type": {}},
    {"type": []},
    {"type": None},
    {"type": 1e999},
    {"type": [{}], "item": 3},
    {"type": {"turn.failed": 1}, "error": {"message": "no"}},
    {"type": "item.completed", "item": {"type": {}, "text": "x"}},
    {"type": "item.completed", "item": {"type": ["agent_message"], "text": "x"}},
    {"type": "item.completed", "item": {"type": "agent_message", "text": {"text": "x"}}},
    {"type": "item.completed", "item": []},
    {"type": "item.started", "item": 5},
    {"type": "error", "message": {"a": [{}]}},
    [],
    None,
    5,
    '{"type": "error", "message": ' + '{"a":' * 900 + "1" + "}" * 901 + "\n",
    '{"type": ' + "[" * 100_000 + "\n",
    '{"type": ' + "9" * 5000 + "}\n",
    "\x00\n",
]


@pytest.mark.parametrize("event", ODD_EVENTS, ids=lambda event: str(event)[:50])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_an_odd_line_costs_no_good_answer(codex: FakeCodex, event: Any, place: int) -> None:
    """Wherever it stands among the lines of a whole answer."""
    lines = fake_codex.answer("hello")
    codex.script([*lines[:place], event, *lines[place:]])
    assert complete(provider(codex)).text == "hello"


@pytest.mark.parametrize(
    "text",
    [
        '{"error": {"code": []}}',
        '{"error": {"code": {}, "type": {}, "message": "too long"}}',
        '{"error": {"type": ["context_length_exceeded"]}}',
        '{"code": {"a": 1}}',
        '{"error": ' + "[" * 990 + "]" * 990 + "}",
        "{" * 5000,
        '{"error": null}',
    ],
    ids=lambda text: text[:40],
)
def test_an_odd_body_in_a_failure_is_a_failure_of_a_known_type(codex: FakeCodex, text: str) -> None:
    codex.script(fake_codex.failure(text), exit=1)
    assert failure(provider(codex)).failure_type in {F.INVALID_REQUEST, F.UNKNOWN, F.CONTEXT_LENGTH}


@pytest.mark.parametrize(
    ("spelt", "expected"),
    [
        (r"\ud800", "\ufffd"),
        (r"a\udfffb", "a\ufffdb"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"x\ud83d", "x\ufffd"),
        ("\u2028", "\u2028"),
    ],
)
def test_an_answer_is_text_that_can_be_written(codex: FakeCodex, spelt: str, expected: str) -> None:
    """JSON can spell half of a pair of surrogates, which no file or terminal takes."""
    item = '{"type": "item.completed", "item": {"type": "%s", "text": "%s"}}\n'
    lines = fake_codex.answer("")
    codex.script([*lines[:3], item % ("reasoning", spelt), item % ("agent_message", spelt), lines[-1]])
    response = complete(provider(codex))
    assert (response.text, response.reasoning) == (expected, expected)
    response.text.encode()


@pytest.mark.parametrize("kind", ["turn.failed", "error"])
def test_the_text_of_a_failure_can_be_written_too(codex: FakeCodex, kind: str) -> None:
    where = '"error": {"message": "bad \\udc80 thing"}' if kind == "turn.failed" else '"message": "bad \\udc80 thing"'
    codex.script([*fake_codex.BEGIN, f'{{"type": "{kind}", {where}}}\n'], exit=1)
    assert failure(provider(codex)).message.encode()


# Output


FLOODS = (
    "import subprocess\n"
    'code = \'import os, sys\\nopen(sys.argv[1], "w").write(str(os.getpid()))\\n'
    'while True: os.write(1, b"x" * 999 + b"\\\\n")\'\n'
    "note = str(Path(sys.argv[0]).with_name('flood-pid'))\n"
    "subprocess.Popen([sys.executable, '-IS', '-c', code, note], start_new_session=True)\n"
    "while not (os.path.exists(note) and open(note).read()): time.sleep(0.01)\n"
)


@linux
@pytest.mark.parametrize("limit", [4096, 1 << 25])
def test_a_flood_of_others_costs_no_whole_answer(codex: FakeCodex, limit: int) -> None:
    """A process that codex has left behind goes on writing to the same pipe. It is ended, too."""
    codex.script(after=FLOODS)
    assert complete(provider(codex, max_output_bytes=limit)).text == "hello"
    pid = int((codex.folder / "flood-pid").read_text())
    assert eventually(lambda: not alive(pid), HANG)


def test_a_flood_before_the_end_of_the_answer_is_a_failure(codex: FakeCodex) -> None:
    codex.script(before="while True: os.write(1, b'x' * 65536)")
    assert failure(provider(codex, max_output_bytes=100_000)).failure_type is F.INVALID_RESPONSE


# Secrets


@pytest.mark.parametrize("shape", ["list", "nested", "alike"])
def test_many_texts_in_the_login_do_not_delay_a_failure(codex: FakeCodex, machine: Path, shape: str) -> None:
    """Neither those the user has nor those codex has put there, with a message of a megabyte. A call would not end."""
    texts = [f"{'k' * 16}{number:06d}" if shape == "alike" else f"{number:022d}" for number in range(60_000)]
    login = texts if shape == "list" else {"tokens": {text: {"a": [text]} for text in texts}}
    codex.script(
        fake_codex.failure("".join(texts[:50_000])), exit=1,
        before=f"{AUTH}auth.write_text(json.dumps({{'a': [f'{{n:022d}}' for n in range(60_000)]}}))",
    )  # fmt: skip
    assert len(failure(service(codex)).message) <= 500
    (machine / ".codex/auth.json").write_text(json.dumps(login))
    error = failure(service(codex))
    assert (error.failure_type, error.sent) == (F.AUTH, False)
    assert "larger than" in error.message


def test_all_texts_of_a_login_within_its_limit_are_secrets(tmp_path: Path) -> None:
    """However deep they are, but for those that are no secrets."""
    deep: Any = "d" * 20
    for number in range(300):
        deep = {"x": [deep]} if number % 2 else {"y": deep}
    texts = [f"{number:022d}" for number in range(1000)]
    login = {"tokens": texts, "deep": deep, "last_refresh": "2026-01-01T00:00:00.000000Z", "auth_mode": "c" * 20}
    (tmp_path / "auth.json").write_text(json.dumps(login))
    assert set(login_secrets(tmp_path)) == {*texts, "d" * 20}


def test_the_start_of_a_long_text_is_scrubbed_like_the_whole() -> None:
    """Nothing of a secret shows, wherever a cut falls; a short text is treated as ever."""
    secrets = ["s" * 40, "abcdefghijkl", TOKEN, KEY]
    for text in ("", "x", f"{TOKEN} {KEY}", "a" * 499 + TOKEN, f"{KEY}\n" * 40):
        assert quoted(text, secrets) == bounded(scrub(text, secrets))
    for shift in range(60):
        text = "-" * shift + f"{TOKEN},{KEY};abcdefghijkl" * 5000
        shown = quoted(text, secrets)
        assert len(shown) <= 500
        assert MASK in shown
        for secret in (TOKEN, KEY, "abcdefghijkl"):
            assert not any(secret[:cut] in shown for cut in (len(secret), 6))


def test_masks_that_shorten_a_text_bring_no_half_secret_into_view() -> None:
    secret = "q" * 3000
    text = "".join(f"{n}{secret}" for n in range(40))
    assert "qq" not in quoted(text, [secret])


# No home


@pytest.fixture
def homeless(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an entry and without HOME, as in a container that runs under a number."""

    def nobody(number: int) -> object:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_there_is_no_login(codex: FakeCodex) -> None:
    """And nothing foreign is raised: not by a call, nor by the doctor, nor when secrets are asked for."""
    subject = service(codex)
    error = failure(subject)
    assert (error.failure_type, error.sent) == (F.AUTH, False)
    assert "no home folder" in error.message
    assert list(subject.secrets()) == []
    assert [level for level, _ in subject.check()] == ["ok", "error"]
    assert codex.runs == []


@pytest.mark.usefixtures("homeless")
def test_without_a_home_a_router_reports_no_login(codex: FakeCodex) -> None:
    providers = {"c": {"type": "codex_cli", "command": str(codex.path)}, "m": {"type": "mock", "echo": True}}
    config = {
        "llm": {
            "providers": providers,
            "roles": {"r": {"provider": "c", "model": "m", "fallback_providers": ["m"]}},
            "trace": {"enabled": False},
        }
    }
    with LeeLLMRouter(config) as router:
        response = router.complete("r", "hi")
    assert response.text == "hi"


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("setting", ["workspace", "codex_home"])
def test_a_folder_below_a_home_that_is_not_there_is_named(codex: FakeCodex, setting: str) -> None:
    subject = provider(codex, **{setting: "~/x"})
    error = failure(subject)
    assert (error.failure_type, error.sent, error.final) == (F.PROVIDER_ERROR, False, True)
    assert "~/x" in error.message
    assert [level for level, text in subject.check() if "~/x" in text] == ["error"]


@pytest.mark.usefixtures("homeless")
def test_without_a_home_a_key_serves(codex: FakeCodex) -> None:
    assert complete(provider(codex)).text == "hello"


# A login in the system's keyring


@pytest.mark.parametrize(
    ("config", "passed"),
    [
        ('cli_auth_credentials_store = "keyring"', '"keyring"'),
        ('model = "x"\ncli_auth_credentials_store = "auto"\n[features]\na = 1', '"auto"'),
        ('[features]\ncli_auth_credentials_store = "keyring"', None),
        ("cli_auth_credentials_store = 5", None),
        ("cli_auth_credentials_store = ", None),
        ("\x00", None),
        ("x = " + "[" * 5000, None),
        ("", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("agent", [False, True])
def test_a_given_codex_home_says_where_its_login_is(
    codex: FakeCodex, machine: Path, config: str | None, passed: str | None, agent: bool
) -> None:
    """A completion does not read its config.toml, so the setting is passed on. A setting of ours comes first."""
    home = machine / ".codex"
    if config is not None:
        (home / "config.toml").write_bytes(config.encode(errors="surrogateescape"))
    complete(service(codex, codex_home=str(home), agent=agent))
    assert settings_of(codex.run).get("cli_auth_credentials_store") == passed
    codex.forget()
    extra = {"cli_auth_credentials_store": "file"}
    complete(service(codex, codex_home=str(home), extra_config=extra))
    assert settings_of(codex.run)["cli_auth_credentials_store"] == '"file"'


def test_the_advice_for_a_missing_login_names_each_way_out(codex: FakeCodex, machine: Path) -> None:
    """Also where the login is in the system's keyring: then `codex login` leads in a circle, and codex_home helps."""
    (machine / ".codex/auth.json").unlink()
    (machine / ".codex/config.toml").write_text('cli_auth_credentials_store = "keyring"\n')
    [(_, found)] = [entry for entry in service(codex).check() if entry[0] == "error"]
    for text in (failure(service(codex)).message, found):
        for way in ("codex login", "api_key_env", "keyring", "codex_home"):
            assert way in text
