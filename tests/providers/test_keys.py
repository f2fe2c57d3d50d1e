"""A key may stand in a file: a plain one, of a sensible size, read again when it has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.agent_calls import complete as complete_codex
from helpers.codex_support import provider as codex_provider
from helpers.config_support import findings
from helpers.fake_codex import FakeCodex
from helpers.servers import Server, answering, completion, json_answer
from lee_llm_router import LeeLLMRouter
from lee_llm_router.config import load_config
from lee_llm_router.doctor import diagnose
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.keys import MAX_KEY_BYTES, KeyedConfig, KeySource

SECRET = "k-5e8c-secret-19bd"


def source(path: Path | str) -> KeySource:
    return KeySource(KeyedConfig(type="x", api_key_file=str(path)), "p")


def written(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_key_is_the_files_content(tmp_path: Path, end: bytes) -> None:
    """Without the newline that editors put at the end."""
    keys = source(written(tmp_path, SECRET.encode() + end))
    assert keys.read() == SECRET
    assert list(keys.known()) == [SECRET]
    assert [level for level, _ in keys.check()] == ["ok"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b" \n\n ", "is empty"),
        (SECRET.encode() + b"\n# the key\n", "no HTTP header may contain"),
        ("\ufeffk".encode(), "no HTTP header may contain"),
        ("k".encode("utf-16"), "not UTF-8"),
        (b"a\0b", "no HTTP header may contain"),
        (b"k" * (MAX_KEY_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_key_is_an_authentication_error(tmp_path: Path, data: bytes, said: str) -> None:
    """And an error of the doctor; neither shows what the file holds."""
    path = written(tmp_path, data)
    with pytest.raises(AuthenticationError, match=said) as caught:
        source(path).read()
    assert str(path) in caught.value.message and SECRET not in str(caught.value)
    ((level, text),) = source(path).check()
    assert level == "error" and said in text
    assert list(source(path).known()) == []


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "device", "link to nothing", "no home", "no path"])
def test_what_is_no_plain_file_is_an_authentication_error(tmp_path: Path, kind: str) -> None:
    """At once: opening a FIFO would wait for a writer."""
    path = tmp_path / "key"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
    at = {"device": "/dev/zero", "no home": "~nobody-at-all/key", "no path": "a\0b"}.get(kind, str(path))
    with pytest.raises(AuthenticationError, match="api_key_file"):
        source(at).read()
    assert [level for level, _ in source(at).check()] == ["error"]


@pytest.mark.parametrize(("mode", "levels"), [(0o600, ["ok"]), (0o640, ["ok"]), (0o644, ["ok", "warning"]),
                                              (0o604, ["ok", "warning"]), (0o602, ["ok", "warning"])])  # fmt: skip
def test_one_that_others_may_read_is_warned_of(tmp_path: Path, mode: int, levels: list[str]) -> None:
    assert [level for level, _ in source(written(tmp_path, SECRET.encode(), mode)).check()] == levels


@pytest.mark.parametrize("how", ["written", "replaced", "link turned"])
def test_a_changed_file_is_read_again(tmp_path: Path, how: str) -> None:
    """Rotated secrets count from the next attempt on, however they are rotated; an unchanged file is not read again."""
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("key-number-one")
    second.write_text("key-number-two!")
    path = tmp_path / "key"
    path.symlink_to(first) if how == "link turned" else path.write_text("key-number-one")
    keys = source(path)
    assert keys.read() == keys.read() == "key-number-one"
    if how == "written":
        path.write_text("key-number-two!")
    elif how == "replaced":
        second.replace(path)
    else:
        path.unlink()
        path.symlink_to(second)
    assert keys.read() == "key-number-two!"
    assert list(keys.known()) == ["key-number-two!"]


def test_a_relative_path_starts_at_the_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the key travels, is kept out of errors, and is missed as AUTH."""
    (tmp_path / "project/secrets").mkdir(parents=True)
    key = written(tmp_path / "project/secrets", SECRET.encode() + b"\n")
    with Server(answering(json_answer({"error": {"message": f"no {SECRET} here"}}, 400))) as server:
        (tmp_path / "project/llm.yaml").write_text(
            f"llm:\n  providers: {{p: {{type: http, base_url: '{server.url}', api_key_file: secrets/key}}}}\n"
            "  roles: {r: {provider: p, model: m}}\n"
        )
        monkeypatch.chdir(tmp_path)
        with LeeLLMRouter("project/llm.yaml", trace_store=False) as router:
            with pytest.raises(Exception, match=r"no \*\*\* here"):
                router.complete("r", "x")
            assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
            key.unlink()
            with pytest.raises(AuthenticationError, match="api_key_file secrets/key: No such file"):
                router.complete("r", "x")
    assert SECRET not in repr(diagnose(tmp_path / "project/llm.yaml"))


@pytest.mark.parametrize("kind", ["http", "openai_http", "codex_cli"])
def test_a_key_comes_from_one_place(kind: str) -> None:
    """A file in the settings replaces the variable of an alias, not one that is written beside it."""
    base = {"type": kind, "api_key_file": "/run/secrets/k"} | (
        {"base_url": "https://a.test/v1"} if kind == "http" else {}
    )
    settings: Any = load_config(config(base)).providers["p"]
    assert (settings.api_key_env, settings.api_key_file) == (None, "/run/secrets/k")
    (found,) = findings(config({**base, "api_key_env": "SOME_KEY"}))
    assert found.endswith("give api_key_env or api_key_file, not both")


def config(provider: dict[str, Any]) -> dict[str, Any]:
    return {"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p", "model": "m"}}}}


def test_codex_is_given_the_key_of_a_file(codex: FakeCodex, tmp_path: Path) -> None:
    subject = codex_provider(codex, api_key_env=None, api_key_file=str(written(tmp_path, SECRET.encode())))
    complete_codex(subject)
    assert codex.run["env"]["LEE_LLM_ROUTER_CODEX_KEY"] == SECRET
    assert SECRET not in "\0".join(codex.run["argv"])
    assert SECRET in list(subject.secrets())


def test_a_stream_and_a_whole_answer_use_the_same_key(tmp_path: Path) -> None:
    with Server(answering(json_answer(completion()))) as server:
        provider = {"type": "http", "base_url": server.url, "api_key_file": str(written(tmp_path, SECRET.encode()))}
        with LeeLLMRouter(config(provider), trace_store=False) as router:
            router.complete("r", "x")
            with router.stream("r", "x") as stream:
                list(stream)
        assert [one.headers["authorization"] for one in server.requests] == [f"Bearer {SECRET}"] * 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (f'"{SECRET}"', "quotes"),
        (f"'{SECRET}'", "quotes"),
        (f"Bearer {SECRET}", "Bearer"),
        ("two words", "white space"),
    ],
)
def test_the_doctor_warns_of_an_odd_key(monkeypatch: pytest.MonkeyPatch, value: str, said: str) -> None:
    """As containers and notebooks pass it on; without a part of it."""
    monkeypatch.setenv("ODD_KEY", value)
    found = list(KeySource(KeyedConfig(type="x", api_key_env="ODD_KEY"), "p").check())
    assert [level for level, _ in found] == ["ok", "warning"]
    assert said in found[1][1] and SECRET not in repr(found)
