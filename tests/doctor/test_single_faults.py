"""Faults that exclude each other, or that need a machine of their own: each has its id and its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router.doctor import CheckResult, diagnose, trace_checks
from lee_llm_router.doctor.key_checks import owner_of_key
from lee_llm_router.providers.base import Provider
from lee_llm_router.telemetry.plugins import register_store

KEY = "abcdefghijklmnop0123456789ABCDEF"
SOUND = "  providers: {p: {type: mock}}\n  roles: {r: {provider: p}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, without the machine's proxies and authorities."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT", "REQUESTS_CA", "CURL_CA")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bad(results: list[CheckResult]) -> dict[str, CheckResult]:
    """Return the first finding of each id."""
    return {result.id: result for result in reversed(results) if result.level in ("warning", "error")}


def of_text(here: Path, text: str | bytes) -> dict[str, CheckResult]:
    (here / "c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return bad(diagnose(here / "c.yaml"))


def with_provider(**settings: Any) -> dict[str, Any]:
    return {"llm": {"providers": {"p": settings}, "roles": {"r": {"provider": "p", "model": "m"}}}}


@pytest.mark.parametrize(
    ("text", "check", "line"),
    [
        ("llm: [\n", "LLR101", 2),
        ("llm:\n\tproviders: x\n", "LLR101", 2),
        ("llm: {a: *b}\n", "LLR101", 1),
        ("llm:\n---\nllm:\n", "LLR101", 2),
        (b"\xff\xfel\0l\0m\0", "LLR102", None),
        (b"llm: \xff\n", "LLR102", 1),
        ("llm: " + "[" * 200 + "]" * 200, "LLR102", 1),
        ("", "LLR103", 1),
        ("other: 1\n", "LLR103", 1),
        ("lm:\n" + SOUND, "LLR103", 1),
        ("providers: {}\nroles: {}\n", "LLR103", 1),
        ("llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p}, s: {provider: p}}\n", "LLR117", 1),
        ("llm:\n  policy: {type: simpel}\n" + SOUND, "LLR111", 2),
        ("llm:\n  policy: simpel\n" + SOUND, "LLR111", 2),
        ("llm:\n  sinks: [logging, loging]\n" + SOUND, "LLR111", 2),
        ("llm:\n  trace: {store: jsnl}\n" + SOUND, "LLR111", 2),
        ("llm:\n  providers: {}\n  roles: {}\n", "LLR107", 2),
        ("llm: 5\n", "LLR106", 1),
        ("llm:\n  providers: [1]\n  roles: {r: 5}\n", "LLR106", 2),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(here: Path, text: str | bytes, check: str, line: int | None) -> None:
    """The file is told of at the line where it goes wrong."""
    results = of_text(here, text)
    assert check in results
    assert results[check].line == line
    assert results[check].file == str(here / "c.yaml")


@pytest.mark.parametrize("sink", ["prometheus", "opentelemetry"])
def test_a_sink_whose_extra_is_missing_is_a_type_without_its_package(
    here: Path, monkeypatch: pytest.MonkeyPatch, sink: str
) -> None:
    """The message says what to install."""
    monkeypatch.setattr(f"lee_llm_router.telemetry.sinks.{sink}.find_spec", lambda _: None)
    results = of_text(here, f"llm:\n  sinks: [{sink}]\n" + SOUND)
    assert 'pip install "lee-llm-router[' in results["LLR111"].message


def test_what_follows_from_a_fault_is_no_fault(here: Path) -> None:
    """A role whose provider has a mistake is not said to name an unknown one, nor its chain to be short."""
    results = of_text(
        here,
        "llm:\n  default_role: r\n  providers:\n    p: {type: mok}\n    q: {typ: mock}\n    s: {type: mock}\n"
        "  roles:\n    r: {provider: p, fallback_providers: [q, s]}\n    t: {provider: s}\n",
    )
    assert set(results) == {"LLR111", "LLR105", "LLR104"} or set(results) == {"LLR111", "LLR105"}


@pytest.mark.parametrize(
    ("line", "check"),
    [
        ("# gsk_abcdefghijklmnop0123456789", "LLR119"),
        ("other: {token: a1b2c3d4e5f6a7b8}", None),
        ("other: {note: sk-ant-api03-abcdefghijklmnopqrst}", "LLR119"),
        ("# sk-... or sk-***", None),
        ("other: https://me:secret@host/x", "LLR119"),
    ],
)
def test_keys_anywhere_in_the_file_are_found_by_their_shape(here: Path, line: str, check: str | None) -> None:
    """A comment, or another program's part, is copied and committed as all the rest."""
    (here / "c.yaml").touch(mode=0o600)
    results = of_text(here, f"{line}\nllm:\n{SOUND}")
    assert set(results) == ({check} if check else set())
    if check:
        assert (results[check].line, results[check].level) == (1, "error")


@pytest.mark.parametrize(
    ("setting", "is_key"),
    [
        ("extra_body: {api_key: a1b2c3d4e5}", True),
        ("extra_body: {token: short1}", False),
        ("extra_body: {max_tokens: 5}", False),
        ("extra_body: {trace: aB3dE5gH7jK9mN1pQ3sT5vX}", True),
        ('extra_body: {api_key: "${GIVEN}"}', False),
        ("extra_body: {tokenizer: gpt-4o-tokenizer}", False),
    ],
)
def test_keys_by_name_are_warned_of(here: Path, monkeypatch: pytest.MonkeyPatch, setting: str, is_key: bool) -> None:
    monkeypatch.setenv("GIVEN", "something")
    (here / "c.yaml").touch(mode=0o600)
    results = of_text(
        here, f"llm:\n  providers: {{p: {{type: ollama, {setting}}}}}\n  roles: {{r: {{provider: p, model: m}}}}\n"
    )
    assert set(results) == ({"LLR119"} if is_key else set())


def test_a_env_file_that_cannot_be_read_or_is_not_ignored(here: Path) -> None:
    (here / ".env").write_bytes(b"\xff")
    (here / ".env").chmod(0o600)
    assert set(of_text(here, "llm:\n" + SOUND)) == {"LLR201"}
    (here / ".env").write_text("A=b\n")
    assert set(of_text(here, "llm:\n" + SOUND)) == set()
    (here / ".git").mkdir()
    assert set(of_text(here, "llm:\n" + SOUND)) == {"LLR208"}
    (here / ".gitignore").write_text("*.log\n.env\n")
    assert set(of_text(here, "llm:\n" + SOUND)) == set()


# --- keys ---


@pytest.mark.parametrize(
    ("kind", "key", "check"),
    [
        ("openai", f"sk-proj-{KEY}", None),
        ("openai", f"sk-{KEY}", None),
        ("openai", f"sk-ant-api03-{KEY}", "LLR306"),
        ("openai", f"sk-or-v1-{KEY}", "LLR306"),
        ("openrouter", f"sk-or-v1-{KEY}", None),
        ("anthropic", f"sk-ant-{KEY}", None),
        ("anthropic", f"gsk_{KEY}", "LLR306"),
        ("groq", f"xai-{KEY}", "LLR306"),
        ("gemini", f"AIza{KEY}", None),
        ("mistral", f"AIza{KEY}", "LLR306"),
        ("deepseek", f"sk-{KEY}", None),
        ("claude_cli", f"sk-proj-{KEY}", "LLR306"),
        ("http", f"gsk_{KEY}", None),
        ("openai", "your-api-key", "LLR307"),
        ("openai", "<OPENAI_API_KEY>", "LLR307"),
        ("openai", "changeme", "LLR307"),
        ("openai", "sk-xxxxxxxxxxxx", "LLR307"),
        ("openai", "sk-...", "LLR307"),
        ("openai", "YOUR_API_KEY_HERE", "LLR307"),
        ("openai", "sk-your-key-here", "LLR307"),
        ("openai", "insert-key-here", "LLR307"),
        ("openai", "dummy", "LLR307"),
        ("openai", "myKeyOf7Letters9", None),
        ("ollama", "dummy", None),
        ("openai", "yourself-as-a-key-9f8e7d", None),
    ],
)
def test_keys_that_are_anothers_or_nobodys(
    monkeypatch: pytest.MonkeyPatch, kind: str, key: str, check: str | None
) -> None:
    """A key is judged by how it begins, and only where no other vendor's begin so; a local server takes any."""
    monkeypatch.setenv("MY_KEY", key)
    settings = {"type": kind, "api_key_env": "MY_KEY"}
    if kind == "http":
        settings["base_url"] = "https://gateway.example/v1"
    results = bad(diagnose(with_provider(**settings)))
    assert set(results) & {"LLR306", "LLR307"} == ({check} if check else set())
    assert key not in repr(results) or len(key) < 10


def test_whose_a_key_is_depends_on_its_longest_beginning() -> None:
    assert owner_of_key("sk-or-v1-x")[0] == "sk-or-"
    assert list(owner_of_key("sk-ant-x")[1].values()) == ["anthropic"]
    assert owner_of_key("sk-x") == ("", {})


# --- the network's settings ---


@pytest.mark.parametrize(
    ("variable", "value", "check"),
    [
        ("https_proxy", "http://proxy:3128", None),
        ("https_proxy", "proxy:3128", "LLR405"),
        ("HTTPS_PROXY", "proxy", "LLR405"),
        ("https_proxy", '"http://proxy:3128"', "LLR202"),
        ("https_proxy", "http://proxy:3128\r", "LLR203"),
        ("https_proxy", "ftp://proxy:3128", "LLR406"),
        ("https_proxy", "socks4://proxy:1080", "LLR406"),
        ("https_proxy", "http://proxy:99999", "LLR406"),
        ("no_proxy", "localhost,.corp,10.0.0.0/8,[::1],*.x,host:80,*", None),
        ("no_proxy", "https://corp.example", None),
        ("no_proxy", "a.example/path", "LLR407"),
        ("no_proxy", "a;b", "LLR407"),
        ("no_proxy", "'a'", "LLR202"),
        ("NO_PROXY", "10.0.0.0/99", "LLR407"),
        ("no_proxy", "ftp://x", "LLR407"),
        ("no_proxy", "a:99999", "LLR407"),
    ],
)
def test_variables_of_proxies(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, check: str | None) -> None:
    """Each is told of once, and never with its value, which may hold a password."""
    monkeypatch.setenv(variable, value)
    results = bad(diagnose(with_provider(type="http", base_url="https://models.example/v1")))
    assert check in results if check else not results


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (lambda here: {"SSL_CERT_FILE": str(here / "none.pem")}, "LLR401"),
        (lambda here: {"SSL_CERT_FILE": __file__}, "LLR401"),
        (lambda here: {"SSL_CERT_DIR": str(here / "none")}, "LLR402"),
        (lambda here: {"SSL_CERT_DIR": str(here)}, "LLR402"),
        (lambda here: {"LEE_LLM_ROUTER_TRANSPORT": "carrier-pigeon"}, "LLR408"),
    ],
)
def test_what_several_providers_need_is_told_of_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], dict[str, str]], check: str
) -> None:
    for name, value in make(here).items():
        monkeypatch.setenv(name, value)
    providers = {name: {"type": "http", "base_url": f"https://{name}.example/v1"} for name in ("a", "b")}
    roles = {"r": {"provider": "a", "model": "m", "fallback_providers": ["b"]}}
    results = bad(diagnose({"llm": {"providers": providers, "roles": roles}}))
    assert set(results) == {check}
    assert results[check].subject == "a, b"


# --- traces ---


def test_folders_and_stores_that_cannot_be_used(here: Path) -> None:
    (here / "file").touch()
    assert set(bad(diagnose({"llm": {**with_provider(type="mock")["llm"], "trace": {"dir": "file"}}}))) == {"LLR801"}


class Opinionated:
    """A store that says of itself what its settings say."""

    says: Any = ()

    def write(self, record: Any) -> None:
        raise AssertionError("nothing is to be written")

    def check(self) -> Any:
        if self.says == "raise":
            raise RuntimeError("broken")
        return self.says


register_store("opinionated", Opinionated, replace=True)


@pytest.mark.parametrize(
    ("says", "check"),
    [
        ([("error", "no disk")], "LLR807"), ([("warning", "slow disk")], "LLR808"), ("raise", "LLR807"),
        ([("ok", "fine")], None), ([], None),
    ],
)  # fmt: skip
def test_a_store_says_itself_what_it_lacks(monkeypatch: pytest.MonkeyPatch, says: Any, check: str | None) -> None:
    """A store may have a method `check`, in the form of `Provider.check`."""
    monkeypatch.setattr(Opinionated, "says", says)
    source = with_provider(type="mock")
    source["llm"]["trace"] = {"store": "opinionated"}
    assert set(bad(diagnose(source))) == ({check} if check else set())


def test_all_stores_behind_a_store_are_looked_at(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several folders, and what each store says, behind one that writes to several, or later."""
    monkeypatch.setattr(Opinionated, "says", [("error", "no disk")])
    (here / "t").mkdir(mode=0o755)
    source = with_provider(type="mock")
    stores = [{"type": "buffered", "store": "jsonl"}, "sqlite", "opinionated"]
    source["llm"]["trace"] = {"dir": str(here / "t"), "store": {"type": "multi", "stores": stores}}
    results = [(one.id, one.subject) for one in diagnose(source) if one.section == "traces"]
    assert results == [("LLR803", str(here / "t")), ("LLR807", "multi")]


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("disk / ext4 rw 0 0\n", "ext4"),
        ("disk / ext4 rw 0 0\nserver:/x {here} nfs4 rw 0 0\n", "nfs4"),
        ("disk / ext4 rw 0 0\nserver:/x {here}/other nfs rw 0 0\n", "ext4"),
        ("disk / ext4 rw 0 0\nserver:/x {here}x nfs rw 0 0\n", "ext4"),
        ("s / nfs rw 0 0\ntmpfs {here} tmpfs rw 0 0\n", "tmpfs"),
        ("nonsense\n\n", None),
    ],
)
def test_the_kind_of_a_file_system_is_that_of_the_innermost_mount(
    here: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, kind: str | None
) -> None:
    real = os.path.realpath(here)
    (here / "mounts").write_text(mounts.format(here=real))
    monkeypatch.setattr(trace_checks, "_MOUNTS", str(here / "mounts"))
    assert trace_checks.file_system_of(here) == kind
    monkeypatch.setattr(trace_checks, "_MOUNTS", str(here / "none"))
    assert trace_checks.file_system_of(here) is None


# --- roles and models ---


@pytest.mark.parametrize(
    ("model", "kind", "check"),
    [
        ("gpt-4.1-mni", "openai", "LLR701"),
        ("gpt-7", "openai", None),
        ("gpt-4.1-2025-04-14", "openai", None),
        ("ft:gpt-4o-mini-2024-07-18:me::abc", "openai", None),
        ("claude-sonet-4-5", "anthropic", "LLR701"),
        ("claude-sonnet-4-5", "openai", "LLR703"),
        ("gpt-4.1", "anthropic", "LLR703"),
        ("text-embedding-3-large", "openai", "LLR703"),
        ("whisper-1", "openai", "LLR703"),
        ("gemini-2.0-flash", "gemini", "LLR702"),
        ("my-deployment", "azure", None),
        ("anything/at-all", "openrouter", None),
        ("own-model", "http", None),
        ("google/gemini-3.5-flash", "vertex", None),
        ("claude-sonnet-5-5", "vertex_anthropic", None),
        ("openai/gpt-oss-120b", "groq", None),
    ],
)
def test_models_are_judged_only_where_the_table_is_sure(
    monkeypatch: pytest.MonkeyPatch, model: str, kind: str, check: str | None
) -> None:
    """Another number may be a newer model; a deployment or a gateway has names of its own."""
    pytest.importorskip("genai_prices")
    monkeypatch.setenv("MY_KEY", KEY)
    settings = {"type": kind, "api_key_env": "MY_KEY"}
    if kind.startswith("vertex"):
        settings["base_url"] = "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/endpoints/openapi"
    if kind in ("http", "azure"):
        settings["base_url"] = f"https://me.{'openai.azure.com' if kind == 'azure' else 'example'}/v1"
    source = with_provider(**settings)
    source["llm"]["roles"]["r"]["model"] = model
    found = {name for name in bad(diagnose(source)) if name.startswith("LLR7")}
    assert found == ({check} if check else set())


def test_without_the_price_table_nothing_is_said_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    from lee_llm_router.doctor import price_table

    monkeypatch.setattr(price_table, "_snapshot", lambda: None)
    monkeypatch.setenv("MY_KEY", KEY)
    source = with_provider(type="openai", api_key_env="MY_KEY")
    source["llm"]["roles"]["r"]["model"] = "gpt-4.1-mni"
    assert not bad(diagnose(source))


@pytest.mark.parametrize(
    ("role", "check"),
    [
        ({"timeout": 60, "deadline": 60}, "LLR604"),
        ({"deadline": 100}, "LLR604"),
        ({"timeout": 60, "deadline": 61}, None),
        ({"timeout": 60, "deadline": 100, "retry": {"attempts": 3}}, "LLR605"),
        ({"timeout": 60, "deadline": 121, "retry": {"attempts": 3}}, None),
        ({"timeout": 60, "deadline": 100, "retry": {"attempts": 1}}, None),
        ({"stream": {"first_token_timeout": 700}}, "LLR606"),
        ({"stream": {"first_token_timeout": 100}}, None),
        ({}, None),
    ],
)
def test_times_that_can_never_count(role: dict[str, Any], check: str | None) -> None:
    source = {"llm": {"providers": {"p": {"type": "ollama"}}, "roles": {"r": {"provider": "p", "model": "m", **role}}}}
    assert set(bad(diagnose(source))) == ({check} if check else set())


def test_a_provider_of_somebody_else_may_give_plain_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are no part of what a provider must know."""

    def check(self: Any) -> Any:
        return [("warning", "a plain pair"), ("nonsense", "an unknown level")]

    monkeypatch.setattr(Provider, "check", check)
    results = [result for result in diagnose(with_provider(type="mock")) if result.section == "provider"]
    assert [(result.id, result.level) for result in results] == [("LLR503", "warning")] * 2


@pytest.mark.parametrize(("after", "is_told"), [("1500", True), ("60s", True), ("59s", False), ("p95", False)])
def test_a_hedge_after_the_end_of_an_attempt_is_told(here: Path, after: str, is_told: bool) -> None:
    found = of_text(
        here,
        f"""\
llm:
  providers: {{p: {{type: mock}}, q: {{type: mock}}}}
  roles: {{r: {{provider: p, model: m, fallback_providers: [q], timeout: 60, hedge: {{after: {after}}}}}}}
""",
    )
    assert ("LLR613" in found) is is_told
    if is_told:
        assert "an attempt ends after 60 s" in found["LLR613"].message
