"""The user's claude login: where it is, and when claude renews it. Pure.

On Linux it is a file, `.credentials.json`, in claude's home. On macOS it is in the system's keychain. A variable
(`CLAUDE_CODE_OAUTH_TOKEN`, made by `claude setup-token`) takes precedence over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lee_llm_router._util.home_paths import expand_home
from lee_llm_router._util.numbers import count
from lee_llm_router.providers.agents.login import LoginKind, login_object

LOGIN_FILE = ".credentials.json"
TOKEN_VARIABLE = "CLAUDE_CODE_OAUTH_TOKEN"  # noqa: S105 - the name of a variable
RENEWAL_WINDOW = 310.0
"""Seconds before its access token expires at which claude renews a login: 300, and a margin."""


def user_home(parent: Mapping[str, str]) -> Path:
    """Return the user's claude home: CLAUDE_CONFIG_DIR, or else ~/.claude.

    Raises:
        NoHomeError: there is no home folder.
    """
    return expand_home(parent.get("CLAUDE_CONFIG_DIR") or "~/.claude")


def no_login(reason: object) -> str:
    """Return the message for a missing login, with a remedy."""
    return f"claude is not logged in: {reason}. Run `claude`, then /login; or set {TOKEN_VARIABLE}, or api_key_env"


def _login(content: bytes) -> Mapping[str, Any]:
    login = login_object(content).get("claudeAiOauth")
    return login if isinstance(login, dict) else {}


def _is_renewable(content: bytes) -> bool:
    token = _login(content).get("refreshToken")
    return isinstance(token, str) and token != ""


def _ends(content: bytes) -> float | None:
    milliseconds = count(_login(content).get("expiresAt"))
    return None if milliseconds is None else milliseconds / 1000


def _ends_within(content: bytes, now: float, seconds: float) -> bool:
    ends = _ends(content)
    return ends is not None and ends - now <= seconds


CLAUDE_LOGIN = LoginKind(
    provider="claude_cli",
    missing=no_login,
    renewal_due=lambda content, now: _is_renewable(content) and _ends_within(content, now, RENEWAL_WINDOW),
    is_over=lambda content, now: _ends_within(content, now, 0.0),
    is_renewable=_is_renewable,
)
