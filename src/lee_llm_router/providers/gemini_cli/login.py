"""The user's Google login, `oauth_creds.json`: where it is, its secrets, and whether it has expired. Pure.

Its refresh token works many times, so attempts need not wait for each other. A renewed access token is kept in the
user's file too (see `agents.login`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lee_llm_router._util.home_paths import expand_home
from lee_llm_router.providers.agents.login import LoginKind, login_object

LOGIN_FILE = "oauth_creds.json"
ACCOUNT_FILE = "google_accounts.json"
"""Holds the account name of the login; without it gemini asks a server for the name."""


def user_folder(parent: Mapping[str, str]) -> Path:
    """Return the folder of the user's gemini: ``.gemini`` below GEMINI_CLI_HOME, or else below the user's home.

    Raises:
        NoHomeError: there is no home folder.
    """
    return expand_home(parent.get("GEMINI_CLI_HOME") or "~") / ".gemini"


def no_login(reason: object) -> str:
    """Return the message for a missing login, with a remedy."""
    return f"gemini is not logged in: {reason}. Run `gemini` and log in, or set api_key_env"


def _never(content: bytes, now: float) -> bool:  # noqa: ARG001 - a login is renewed any number of times
    return False


def _is_renewable(content: bytes) -> bool:
    return isinstance(login_object(content).get("refresh_token"), str)


GEMINI_LOGIN = LoginKind(
    provider="gemini_cli", missing=no_login, renewal_due=_never, is_over=_never, is_renewable=_is_renewable
)
