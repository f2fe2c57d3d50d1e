"""The real gemini with a Google login, whose servers are played by a proxy on loopback."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lee_llm_router import LLMRequest, LLMRouterError
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.gemini_cli import GeminiCLIConfig, GeminiCLIProvider
from real.google_server import NEW_TOKEN, Google, serve_google

pytestmark = pytest.mark.real

HANG = 60.0
OLD_TOKEN = "ya29.old-token-0123456789"
REQUEST = LLMRequest(messages=({"role": "user", "content": "hello"},), model="gemini-2.5-flash", temperature=0.5)


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    """Google's servers, for a user whose home is `tmp_path`. A key is at hand, and must not be used."""
    for folder in ("temp", ".gemini"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".gemini/google_accounts.json").write_text('{"active": "me@example.org", "old": []}')
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    with serve_google(tmp_path) as found:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, found.address)
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(found.certificate))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("GEMINI_API_KEY", "AIza-a-key-that-would-be-billed")
        monkeypatch.delenv("GEMINI_CLI_HOME", raising=False)
        yield found
    assert list((tmp_path / "temp").iterdir()) == []


def logged_in(folder: Path, *, seconds_left: int) -> Path:
    """Write a login and return its file."""
    path = folder / ".gemini/oauth_creds.json"
    login = {"access_token": OLD_TOKEN, "refresh_token": "1//refresh-0123456789", "scope": "s", "token_type": "Bearer"}
    path.write_text(json.dumps({**login, "expiry_date": int((time.time() + seconds_left) * 1000)}))
    return path


def provider(gemini: str) -> GeminiCLIProvider:
    return GeminiCLIProvider("gemini", GeminiCLIConfig(command=gemini, env=("GEMINI_API_KEY",)))


def test_a_login_serves_and_no_key(gemini_path: str, google: Google, tmp_path: Path) -> None:
    logged_in(tmp_path, seconds_left=3600)
    response = provider(gemini_path).complete(REQUEST, HANG)
    assert (response.text, response.model, response.usage.prompt_tokens) == ("hello", "served-by-login", 10)
    assert set(google.tokens) == {OLD_TOKEN}
    assert google.seen[-1] == "/v1internal:streamGenerateContent"


def test_a_renewed_login_is_kept(gemini_path: str, google: Google, tmp_path: Path) -> None:
    path = logged_in(tmp_path, seconds_left=-3600)
    assert provider(gemini_path).complete(REQUEST, HANG).text == "hello"
    kept = json.loads(path.read_text())
    assert (kept["access_token"], kept["refresh_token"]) == (NEW_TOKEN, "1//refresh-0123456789")


def test_a_login_that_has_ended_is_an_auth_failure(gemini_path: str, google: Google, tmp_path: Path) -> None:
    path = logged_in(tmp_path, seconds_left=-3600)
    google.refuses_refresh = True
    with pytest.raises(LLMRouterError) as caught:
        provider(gemini_path).complete(REQUEST, HANG)
    assert caught.value.failure_type is F.AUTH
    assert json.loads(path.read_text())["access_token"] == OLD_TOKEN


def test_the_limit_of_a_plan_is_quota_until_it_is_reset(gemini_path: str, google: Google, tmp_path: Path) -> None:
    logged_in(tmp_path, seconds_left=3600)
    google.at_limit = True
    with pytest.raises(LLMRouterError) as caught:
        provider(gemini_path).complete(REQUEST, HANG)
    assert (caught.value.failure_type, caught.value.retry_after) == (F.QUOTA, 53_999.0)
    assert google.seen.count("/v1internal:streamGenerateContent") == 1, "gemini has retried"
