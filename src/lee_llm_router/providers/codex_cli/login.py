"""The user's codex login, `auth.json`: where it is, its secrets, and when codex renews it. Pure except for reads.

Codex keeps databases in its home and reads AGENTS.md, skills and rules from there. So an attempt gets a private home
that holds only the login (see `agents.login`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lee_llm_router._util.home_paths import expand_home
from lee_llm_router._util.numbers import count
from lee_llm_router._util.regular_files import read_regular_file
from lee_llm_router.providers.agents.login import LoginKind, login_object, secrets_in_login
from lee_llm_router.providers.child_process.lent_file import MAX_BYTES

AUTH_FILE = "auth.json"
STORE_SETTING = "cli_auth_credentials_store"
"""Codex's setting for where it stores the login: a file, the system's keyring..."""
RENEWAL_WINDOW = 310.0
"""Seconds before its access token expires at which codex renews a login: 300 (measured with 0.169), and a margin."""
MAX_AGE = 8 * 86_400 - 60.0
"""Seconds after which codex renews a login whose token has no expiry: eight days."""


def user_home(parent: Mapping[str, str]) -> Path:
    """Return the user's codex home: CODEX_HOME, or else ~/.codex.

    Raises:
        NoHomeError: there is no home folder.
    """
    return expand_home(parent.get("CODEX_HOME") or "~/.codex")


def no_login(reason: object) -> str:
    """Return the message for a missing login, with a remedy."""
    return (
        f"codex is not logged in: {reason}. Run `codex login`, or set api_key_env; if codex keeps its login in the"
        " system's keyring, set codex_home to its own home"
    )


def credentials_store(home: Path) -> dict[str, str]:
    """Return the setting of a codex home for where the login is stored; empty if it has none.

    A completion does not read the home's config.toml, so codex would look for the login in the default place.
    """
    import tomllib  # noqa: PLC0415

    try:
        config = tomllib.loads(read_regular_file(home / "config.toml", MAX_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return {}
    store = config.get(STORE_SETTING)
    return {STORE_SETTING: store} if isinstance(store, str) else {}


def renewal_due(content: bytes, now: float) -> bool:
    """Whether codex would renew this login before its first request."""
    login = login_object(content)
    if not _refresh_token(login):
        return False
    ends = _token_end(_tokens(login).get("access_token"))
    if ends is not None:
        return ends - now <= RENEWAL_WINDOW
    try:
        renewed = datetime.fromisoformat(str(login.get("last_refresh"))).timestamp()
    except (ValueError, OverflowError, OSError):
        return False
    return now - renewed >= MAX_AGE


def login_secrets(home: Path) -> list[str]:
    """Return every text in the login of `home` that may be a key or a token."""
    return secrets_in_login(home / AUTH_FILE)


def _is_over(content: bytes, now: float) -> bool:
    ends = _token_end(_tokens(login_object(content)).get("access_token"))
    return ends is not None and ends <= now


def _is_renewable(content: bytes) -> bool:
    return bool(_refresh_token(login_object(content)))


CODEX_LOGIN = LoginKind(
    provider="codex_cli", missing=no_login, renewal_due=renewal_due, is_over=_is_over, is_renewable=_is_renewable
)


def _tokens(login: Mapping[str, Any]) -> Mapping[str, Any]:
    tokens = login.get("tokens")
    return tokens if isinstance(tokens, dict) else {}


def _refresh_token(login: Mapping[str, Any]) -> str:
    token = _tokens(login).get("refresh_token")
    return token if isinstance(token, str) else ""


def _token_end(token: object) -> int | None:
    """Return when a JSON Web Token expires, in seconds since 1970 UTC; None if it does not say, or is none."""
    if not isinstance(token, str) or token.count(".") != 2:
        return None
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    return count(claims.get("exp")) if isinstance(claims, dict) else None
