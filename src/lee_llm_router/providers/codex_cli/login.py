"""The user's codex login (`auth.json`), lent to an attempt as a copy in its private codex home.

Codex keeps databases in its home and reads AGENTS.md, skills and rules from there, so the private home holds only the
login. A login is renewed by a token that can be used once, so of several attempts that renew it one succeeds:

- An attempt whose login is about to be renewed claims the renewal, with a lock on the file that other processes heed
  too. Others wait until the renewed login is in its place, and take that.
- A renewed copy replaces the original while codex still runs, and a renewed original the copies (`LentFile`).
- Codex may also renew a login that seemed good, when the service refuses it. An attempt that is refused while another
  has renewed is made once more, if codex has done nothing yet (`BorrowedLogin.is_outdated`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.home_paths import expand_home
from lee_llm_router._util.log import logger
from lee_llm_router._util.numbers import count
from lee_llm_router._util.regular_files import read_regular_file
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.child_process.lent_file import MAX_BYTES, LentFile
from lee_llm_router.providers.codex_cli.time_budget import TimeBudget

AUTH_FILE = "auth.json"
STORE_SETTING = "cli_auth_credentials_store"
"""Codex's setting for where it keeps the login: a file, the system's keyring..."""
RENEWAL_WINDOW = 310.0
"""Seconds before the end of its access token from which codex renews a login: 300 (measured with 0.169), and more."""
MAX_AGE = 8 * 86_400 - 60.0
"""Seconds after which codex renews a login whose token does not say when it ends: eight days."""
CLAIM_LIMIT = 10.0
"""Seconds an attempt keeps the renewal to itself: a renewal comes first in a run, and takes one request."""
WAIT_LIMIT = 20.0
"""Seconds to wait for another's renewal, at most."""
OUTDATED_WAIT = 1.0
"""Seconds after a refusal in which another's renewal may still arrive."""
_PAUSE = 0.05


class BorrowedLogin:
    """A login lent to one attempt."""

    def __init__(self, lent: LentFile, claim: FileLock | None) -> None:
        self._lent = lent
        self._first = lent.content
        self._claim = claim
        self._claim_ends = monotonic() + CLAIM_LIMIT

    def look(self) -> None:
        """Keep a renewed login at once, and let others have it. To be called often while codex runs."""
        self._sync()
        if self._claim is not None and (self._lent.is_renewed or monotonic() > self._claim_ends):
            self.give_up_claim()

    def give_up_claim(self) -> None:
        """Let others renew. Called when the service has taken the login, too, which is then not renewed."""
        claim, self._claim = self._claim, None
        if claim is not None:
            try:
                self._sync(look_closely=True)  # the copy may have been renewed a moment ago
            finally:
                claim.close()

    def is_outdated(self, budget: TimeBudget) -> bool:
        """Whether somebody else has renewed the login, so that a refusal says nothing; waits for that a moment.

        Raises:
            ChildCancelledError: the attempt is cancelled.
        """
        self.give_up_claim()
        until = min(monotonic() + OUTDATED_WAIT, budget.deadline)
        while True:
            self._sync(look_closely=True)
            if self._lent.content != self._first:
                return not self._lent.is_renewed
            if not _refresh_token(_parsed(self._first)) or monotonic() >= until:
                return False
            budget.pause(_PAUSE)

    def end(self) -> None:
        """Look for the last time. The copy is about to be removed."""
        try:
            self._sync(look_closely=True)
        finally:
            self.give_up_claim()

    def _sync(self, *, look_closely: bool = False) -> None:
        try:
            self._lent.sync(look_closely=look_closely)
        except OSError as error:
            logger.warning(
                "codex_cli: codex renewed its login, which could not be kept in %s: %s",
                self._lent.original, error.strerror or type(error).__name__,
            )  # fmt: skip


def user_home(parent: Mapping[str, str]) -> Path:
    """Return the user's codex home: CODEX_HOME, else ~/.codex.

    Raises:
        NoHomeError: there is no home folder.
    """
    return expand_home(parent.get("CODEX_HOME") or "~/.codex")


@contextmanager
def borrowed_login(
    source: Path, private_home: Path, note: Path, budget: TimeBudget, now: float
) -> Iterator[BorrowedLogin]:
    """Lend the login of `source` to `private_home`; keep it if codex renews it.

    Args:
        source: The codex home that has the login.
        private_home: The codex home of the attempt.
        note: See `LentFile`.
        budget: The time of the attempt, for waiting until another has renewed the login.
        now: Seconds since 1970 UTC.

    Raises:
        AuthenticationError: there is no login, or it cannot be read. `sent` is False.
        ChildCancelledError: the attempt is cancelled.
    """
    original = source / AUTH_FILE
    content, claim = _claimed(original, budget, now)
    try:
        login = BorrowedLogin(LentFile(original, private_home / AUTH_FILE, note, content), claim)
    except BaseException:
        if claim is not None:
            claim.close()
        raise
    try:
        yield login
    finally:
        login.end()


def no_login(reason: object) -> str:
    """Return the sentence for a missing login, with what can be done."""
    return (
        f"codex is not logged in: {reason}. Run `codex login`, or set api_key_env; if codex keeps its login in the"
        " system's keyring, set codex_home to its own home"
    )


def credentials_store(home: Path) -> dict[str, str]:
    """Return the setting of a codex home that says where the login is kept; empty if it has none.

    A completion does not read the home's config.toml, and would look for the login in the default place.
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
    login = _parsed(content)
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
    try:
        login = _parsed(read_regular_file(home / AUTH_FILE, MAX_BYTES))
    except OSError:
        return []
    return [text for text in _texts(login) if len(text) >= 16]


def _claimed(original: Path, budget: TimeBudget, now: float) -> tuple[bytes, FileLock | None]:
    """Return the login; with a claim to its renewal if it is due, after waiting for another who has that claim."""
    began = monotonic()
    waited = False
    while True:
        content = _read(original)
        time = now + monotonic() - began
        # A login that still holds after another's turn is taken as it is: that other could not renew it.
        if not renewal_due(content, time) or (waited and not _is_over(content, time)):
            return content, None
        try:
            lock = FileLock(original)
        except OSError:
            return content, None
        if not lock.is_held_by_another and lock.is_at(original) and _read(original) == content:
            return content, lock
        held = lock.is_held_by_another
        lock.close()
        if held:
            if monotonic() - began >= WAIT_LIMIT or not budget.left:
                return content, None
            waited = True
            budget.pause(_PAUSE)


def _read(original: Path) -> bytes:
    try:
        return read_regular_file(original, MAX_BYTES)
    except FileNotFoundError:
        raise AuthenticationError(no_login(f"{original} does not exist"), sent=False) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AuthenticationError(f"{original} cannot be read: {reason}", sent=False) from None


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        login = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return login if isinstance(login, dict) else {}


def _tokens(login: Mapping[str, Any]) -> Mapping[str, Any]:
    tokens = login.get("tokens")
    return tokens if isinstance(tokens, dict) else {}


def _refresh_token(login: Mapping[str, Any]) -> str:
    token = _tokens(login).get("refresh_token")
    return token if isinstance(token, str) else ""


def _is_over(content: bytes, now: float) -> bool:
    """Whether the access token of a login has ended."""
    ends = _token_end(_tokens(_parsed(content)).get("access_token"))
    return ends is not None and ends <= now


def _token_end(token: object) -> int | None:
    """Return when a JSON Web Token ends, in seconds since 1970 UTC; None if it does not say, or is none."""
    if not isinstance(token, str) or token.count(".") != 2:
        return None
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    return count(claims.get("exp")) if isinstance(claims, dict) else None


def _texts(login: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text of a login that is not known to be harmless."""
    waiting: list[Any] = [login]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            # Not secret, and likely to occur in ordinary text: a date and the name of a login method.
            waiting += [one for key, one in value.items() if key not in ("last_refresh", "auth_mode")]
        elif isinstance(value, list):
            waiting += value
