"""The `.env` beside a configuration gives variables to it, and to nothing else; traces stand beside the file."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from helpers.agent_calls import complete as complete_codex
from helpers.fake_codex import FakeCodex
from helpers.servers import Server, answering, completion, json_answer
from lee_llm_router import LeeLLMRouter
from lee_llm_router.config import LLMConfig, load_config
from lee_llm_router.config.env_file import MAX_ENV_BYTES
from lee_llm_router.config.ownership import trusted_owners
from lee_llm_router.doctor import diagnose
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers.codex_cli import CodexCLIProvider
from lee_llm_router.telemetry.stores.open import open_store

SECRET = "k-9f3b-secret-77aa"
MOCK = 'llm:\n  providers: {p: {type: mock, response_text: "${WORD:-none}"}}\n  roles: {r: {provider: p}}\n'


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORD", "GATE_KEY", "OTHER"):
        monkeypatch.delenv(name, raising=False)


def put(folder: Path, env: str | bytes | None, text: str = MOCK) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "llm.yaml").write_text(text)
    if env is not None:
        (folder / ".env").write_bytes(env.encode() if isinstance(env, str) else env)
    return folder / "llm.yaml"


def word(config: LLMConfig) -> Any:
    return config.providers["p"].model_dump()["response_text"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("WORD=plain", "plain"),
        ("export WORD = spaced ", "spaced"),
        ("WORD='single $x ${OTHER}'", "single $x ${OTHER}"),
        ('WORD="double\\nline"', "double\nline"),
        ("WORD=x # a comment", "x"),
        ("# WORD=no\nWORD=yes\r\n", "yes"),
        ("\ufeffWORD=mark", "mark"),
        ("WORD=first\nWORD=second", "second"),
        ("WORD=${OTHER}", "${OTHER}"),  # followed nowhere
        ("WORD=", "none"),
        ("WORD", "none"),
        ("??? ===\nWORD=after nonsense", "after nonsense"),
    ],
)
def test_references_are_filled_from_it(tmp_path: Path, line: str, value: str) -> None:
    """As python-dotenv reads it; and the environment of the process stays as it is."""
    before = dict(os.environ)
    assert word(load_config(put(tmp_path, line))) == value
    assert dict(os.environ) == before


@pytest.mark.parametrize("own", ["of the process", ""])
def test_the_environment_itself_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    """Also where it is set to nothing."""
    monkeypatch.setenv("WORD", own)
    assert word(load_config(put(tmp_path, "WORD=of the file"))) == (own or "none")


def test_its_values_are_masked_like_the_environments(tmp_path: Path) -> None:
    config = load_config(put(tmp_path, f"WORD={SECRET}"))
    assert SECRET not in repr(config) + config.model_dump_json() + repr(config.origin)
    assert config.filled_values() == (SECRET,)


def test_only_the_one_beside_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one here nor one above; and none for text or a mapping."""
    path = put(tmp_path / "a/b", None)
    (tmp_path / "a/.env").write_text("WORD=above")
    (tmp_path / ".env").write_text("WORD=here")
    monkeypatch.chdir(tmp_path)
    assert word(load_config(path)) == "none"
    assert word(load_config(MOCK)) == "none"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"WORD=\xff", "UTF-8"),
        (b"WORD=a\0b", "NUL"),
        (b"WORD=a" + b" " * 5000 + b"b", "spaces"),
        (b"#" * (MAX_ENV_BYTES + 1), "larger than"),
    ],
)
def test_what_cannot_be_read_is_told_and_not_used(
    tmp_path: Path, content: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(tmp_path, content)
    assert word(load_config(path)) == "none"
    assert why in caplog.text
    (told,) = [one for one in diagnose(path) if one.subject.endswith(".env") and one.id != "LLR206"]
    assert told.level == "warning" and why in told.message


def test_what_is_no_plain_file_does_not_hang(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A FIFO is told of; a folder is somebody's virtual environment; a link to nothing is told of."""
    for name in ("fifo", "folder", "link"):
        path = put(tmp_path / name, None)
        {
            "fifo": os.mkfifo, "folder": os.mkdir, "link": lambda at: at.symlink_to("no"),
        }[name](path.parent / ".env")  # fmt: skip
        caplog.clear()
        assert word(load_config(path)) == "none"
        assert ("not read" in caplog.text) is (name != "folder")


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_one_that_everybody_may_write_is_not_read(tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its lines would decide where keys go."""
    path = put(tmp_path, "WORD=forged")
    (tmp_path / ".env").chmod(mode)
    assert word(load_config(path)) == "none"
    assert "everybody can write" in caplog.text


def test_one_of_a_stranger_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless it is the stranger whose configuration was named, and so trusted."""
    path = put(tmp_path, "WORD=theirs")
    me = os.geteuid()
    monkeypatch.setattr("lee_llm_router.config.env_file.trusted_owners", lambda: frozenset({me + 1}))
    assert trusted_owners() >= {me}
    assert word(load_config(path)) == "theirs"
    real = Path.stat
    odd = os.stat_result((0o100644, 1, 1, 1, me + 2, 0, 1, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda self, **k: odd if self.name == "llm.yaml" else real(self, **k))
    assert word(load_config(path)) == "none"
    assert "belongs to user" in caplog.text


def test_keys_are_looked_up_in_it_at_each_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`api_key_env` names a variable of the environment, else of the `.env`; a pickled configuration keeps it."""
    with Server(answering(json_answer(completion()))) as server:
        text = (
            f"llm:\n  providers: {{p: {{type: http, base_url: '{server.url}', api_key_env: GATE_KEY}}}}\n"
            "  roles: {r: {provider: p, model: m}}\n"
        )
        config = load_config(put(tmp_path, f"GATE_KEY={SECRET}", text))
        assert SECRET not in repr(config)
        for one in (config, pickle.loads(pickle.dumps(config))):
            with LeeLLMRouter(one, trace_store=False) as router:
                router.complete("r", "x")
                assert server.requests[-1].headers["authorization"] == f"Bearer {SECRET}"
                monkeypatch.setenv("GATE_KEY", "of-the-process")
                router.complete("r", "x")
                assert server.requests[-1].headers["authorization"] == "Bearer of-the-process"
                monkeypatch.delenv("GATE_KEY")


def test_codex_is_given_what_env_names(codex: FakeCodex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the names listed, the environment first; and the key from there."""
    text = (
        f"llm:\n  providers:\n    p: {{type: codex_cli, command: '{codex.path}', base_url: 'http://127.0.0.1:1/v1',\n"
        "      api_key_env: GATE_KEY, env: [WORD, OTHER]}\n  roles: {r: {provider: p, model: m}}\n"
    )
    env = f"GATE_KEY={SECRET}\nWORD=of the file\nOTHER=of the file\nPATH=/no\nLC_ALL=x"
    path = put(tmp_path / "project", env, text)
    monkeypatch.setenv("OTHER", "of the process")
    settings: Any = load_config(path).providers["p"]
    subject = CodexCLIProvider("p", settings)
    complete_codex(subject)
    given = codex.run["env"]
    assert (given["WORD"], given["OTHER"]) == ("of the file", "of the process")
    assert given["LEE_LLM_ROUTER_CODEX_KEY"] == SECRET
    assert given["PATH"] != "/no" and given.get("LC_ALL") != "x" and "GATE_KEY" not in given
    assert SECRET in list(subject.secrets())


def test_the_doctor_says_what_came_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "llm:\n  providers:\n    p: {type: mock, response_text: '${WORD:-x} ${OTHER:-x}'}\n"
        "    q: {type: http, base_url: 'http://127.0.0.1:1/v1', api_key_env: GATE_KEY}\n"
        "  default_role: r\n  roles: {r: {provider: p}, s: {provider: q, model: m}}\n"
    )
    path = put(tmp_path, f"GATE_KEY={SECRET}\nWORD={SECRET}\nOTHER=y\nUNUSED=z\n", text)
    monkeypatch.setenv("OTHER", "own")
    found = diagnose(path)
    (told,) = [one for one in found if one.id == "LLR200"]
    assert told.subject == str(tmp_path / ".env")
    assert (told.level, told.message) == ("ok", "gives GATE_KEY, WORD; the environment has its own OTHER")
    assert f"environment variable GATE_KEY is set by {tmp_path / '.env'}" in [one.message for one in found]
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"gpt-5"', "quotes"), ("'gpt-5'", "quotes"), ("gpt-5\r", "white space"), (" gpt-5", "white space"),
        ("Bearer abc", "Bearer"), ("gpt-5\n", "white space"), ('gpt-5"', "quotes"),
        ("gpt-5", None), ("it's", None), ("a b", None), ("", None), ('"', None),
    ],
)  # fmt: skip
def test_the_doctor_warns_of_values_passed_on_with_their_wrapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, said: str | None
) -> None:
    """As containers pass lines of a `.env`: quotes and ends of Windows lines become part of the value."""
    monkeypatch.setenv("WORD", value)
    warned = [one for one in diagnose(put(tmp_path, None)) if one.level == "warning" and "WORD" in one.subject]
    assert len(warned) == (said is not None)
    assert all(str(said) in one.message for one in warned)
    assert "gpt-5" not in repr(warned)


# Where traces are


@pytest.mark.parametrize(
    ("section", "folder", "workspace"),
    [
        ("", ".lee-llm-router/traces", "."),
        ("trace: {dir: t}", "t", "."),
        ("trace: {dir: ../t}", "../t", "."),
        ("trace: {workspace: w}", "w/.lee-llm-router/traces", "w"),
        ("trace: {workspace: w, dir: t}", "w/t", "w"),
        ("trace: {dir: /nowhere/t}", "/nowhere/t", "."),
    ],
)
def test_traces_belong_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, folder: str, workspace: str
) -> None:
    """Whatever the current directory is, also later; by a relative path as well."""
    path = put(tmp_path / "project", None, f"{MOCK}  {section}\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for source in (path, os.path.relpath(path)):
        config = load_config(source)
        monkeypatch.chdir(tmp_path)
        store: Any = open_store(config.trace)
        assert store.trace_dir == config.trace.trace_folder == path.parent / folder
        assert config.trace.workspace_folder == path.parent / workspace
        monkeypatch.chdir(tmp_path / "elsewhere")


def test_a_record_names_its_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the file, else the current directory, else what the program names; and the traces are there."""
    monkeypatch.chdir(tmp_path)
    path = put(tmp_path / "project", None)
    for source, named, expected in (
        (path, None, path.parent),
        (MOCK, None, tmp_path),
        (path, tmp_path / "w", tmp_path / "w"),
    ):
        with LeeLLMRouter(source, workspace=named) as router:
            router.complete("r", "x")
            store: Any = router.trace_store
            assert store.last()[0].workspace == str(expected)
            assert store.trace_dir == expected / ".lee-llm-router/traces"


def test_a_trace_folder_named_in_code_is_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the workspace, where one is named; never to the file, which the program need not know."""
    monkeypatch.chdir(tmp_path)
    config = load_config(put(tmp_path / "project", None))
    store: Any = open_store(config.trace, trace_dir="t")
    assert store.trace_dir == tmp_path / "t"
    store = open_store(config.trace, trace_dir="t", workspace="w")
    assert store.trace_dir == tmp_path / "w/t"


@pytest.mark.parametrize("section", ["dir: ~nobody-at-all/t", "workspace: ~nobody-at-all/w"])
def test_a_home_that_is_not_there_is_a_typed_error(tmp_path: Path, section: str) -> None:
    """As in a container that runs under a number; the doctor says so too, and goes on."""
    path = put(tmp_path, None, f"{MOCK}  trace: {{{section}}}\n")
    with pytest.raises(ConfigError, match="no home folder"):
        LeeLLMRouter(path)
    assert any(one.level == "error" and "no home folder" in one.message for one in diagnose(path))
