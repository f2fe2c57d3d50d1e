"""Keys that stand in the file, or are another's or nobody's, and proxies that cannot be: each has its id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.single_faults import KEY, SOUND, bad, of_text, with_provider
from lee_llm_router.doctor import diagnose
from lee_llm_router.doctor.key_checks import owner_of_key

pytestmark = pytest.mark.usefixtures("here")


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
        here,
        f"llm:\n  providers: {{p: {{type: ollama, {setting}}}}}\n  roles: {{r: {{provider: p, model: m}}}}\n",
    )
    assert set(results) == ({"LLR119"} if is_key else set())


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
