"""The settings of the `http` provider, and what the doctor is told of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import certifi
import pytest
from pydantic import ValidationError

from lee_llm_router.providers.http import OpenAIChatConfig, OpenAIChatProvider


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k-0123-secret-4567")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"base_url": "api.openai.com/v1"}, "http"),
    ({"base_url": "ftp://model.test"}, "http"),
    ({"base_url": "https://user:pass-word@model.test/v1"}, "api_key_env"),
    ({"base_url": "https://model.test/v1?a=pass-word&a=1"}, "twice"),
    ({"base_url": "https://model.test/v1?a=1#x"}, "after \\?"),
    ({"base_url": "https://model.test/v1/chat/completions?api-version=1"}, "leave out"),
    ({"query": {"": "pass-word"}}, "name"),
    ({"query": {"a": "pass-word\n"}}, "printable"),
    ({"query": {"a": True}}, "string"),
    ({"query": "api-version=pass-word"}, "dict"),
    ({"base_url": "https://model.test/v1#x"}, "after \\?"),
    ({"base_url": "https://model.test/v 1"}, "address"),
    ({"base_url": "https://model.test:99999/v1"}, "address"),
    ({"base_url": "https:///v1"}, "host"),
    ({"base_url": "https://model.test/v1/chat/completions/"}, "leave out"),
    ({"api": "telepathy"}, "openai-chat"),
    ({"api_key_env": "sk-proj-0123456789abcdef0123"}, "environment variable"),
    ({"headers": {"X-A": "pass-word\nX-B: c"}}, "X-A"),
    ({"headers": {"X A": "pass-word"}}, "X A"),
    ({"headers": {"Host": "pass-word"}}, "Host"),
    ({"organization": "pass-word\u2028"}, "HTTP header"),
    ({"extra_body": {"stream": True}}, "stream"),
    ({"max_response_bytes": 0}, "1024"),
    ({"max_tokens_field": "tokens"}, "max_tokens"),
    ({"ca_file": ""}, "at least 1"),
    ({"base_ur": "x"}, "base_ur"),
]


@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_wrong_settings_are_refused_and_not_repeated(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        OpenAIChatConfig.model_validate({"type": "http", "base_url": "https://model.test/v1", **settings})
    assert "pass-word" not in str(caught.value)


def _checked(**settings: Any) -> list[tuple[str, str]]:
    config = OpenAIChatConfig(**{"type": "http", "base_url": "https://model.test/v1", **settings})
    return list(OpenAIChatProvider("p", config).check())


def test_the_doctor_is_told_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ("ok", "environment variable TEST_KEY is set") in _checked(api_key_env="TEST_KEY")
    monkeypatch.delenv("TEST_KEY")
    assert ("error", "environment variable TEST_KEY is not set") in _checked(api_key_env="TEST_KEY")
    assert ("ok", "model.test is asked without a key") in _checked()


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"base_url": "http://model.test/v1", "api_key_env": "TEST_KEY"}, True),
        ({"base_url": "http://model.test/v1", "headers": {"X-Api-Key": "x"}}, True),
        ({"base_url": "http://model.test/v1", "headers": {"X-Title": "x"}}, False),
        ({"base_url": "http://model.test/v1"}, False),
        ({"base_url": "http://127.0.0.1/v1", "api_key_env": "TEST_KEY"}, False),
        ({"base_url": "http://[::1]:8080/v1", "api_key_env": "TEST_KEY"}, False),
        ({"base_url": "http://localhost:8080/v1", "api_key_env": "TEST_KEY"}, False),
        ({"base_url": "http://gpu.localhost/v1", "api_key_env": "TEST_KEY"}, False),
    ],
)
def test_the_doctor_warns_of_a_key_sent_in_the_clear(settings: dict[str, Any], warned: bool) -> None:
    assert ("warning" in dict(_checked(**settings))) is warned


def test_the_doctor_is_told_of_a_missing_ca_file(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    assert ("error", f"ca_file {missing} does not exist") in _checked(ca_file=str(missing))
    missing.write_text("")
    assert ("error", "ca_file cannot be used: it holds no certificate that can be read") in _checked(
        ca_file=str(missing)
    )
    missing.write_bytes(Path(certifi.where()).read_bytes())
    assert "error" not in dict(_checked(ca_file=str(missing)))


def test_the_http_library_is_not_loaded_before_the_first_call() -> None:
    """A configuration with http providers loads, and is checked, without it."""
    code = (
        "import sys\n"
        "from lee_llm_router.providers.http import OpenAIChatConfig, OpenAIChatProvider\n"
        "provider = OpenAIChatProvider('p', OpenAIChatConfig(type='http', base_url='http://127.0.0.1/v1'))\n"
        "list(provider.check()), list(provider.secrets()), provider.close()\n"
        "assert not {'httpx', 'httpcore', 'anyio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
