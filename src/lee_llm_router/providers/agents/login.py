"""The user's login, a file of JSON, lent to an attempt as a copy in its private agent home.

A login is renewed by a token that can be used once, so of several attempts that renew it one succeeds:

- An attempt whose login is about to be renewed claims the renewal, with a lock on the file that other processes heed
  too. Others wait until the renewed login is in its place, and take that. Its agent is ended only then, or a moment
  later (`must_go_on`): the service may have renewed the login already. The agent inherits the lock, so that it holds
  if this process dies.
- A renewed copy replaces the original while the agent still runs, and a renewed original the copies (`LentFile`).
- An agent may also renew a login that seemed good, when the service refuses it. An attempt that is refused while
  another has renewed is made once more, if the agent has done nothing yet (`BorrowedLogin.is_outdated`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.file_lock import FileLock
from lee_llm_router._util.log import logger
from lee_llm_router._util.regular_files import read_regular_file
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.agents.time_budget import TimeBudget
from lee_llm_router.providers.child_process.lent_file import MAX_BYTES, LentFile

CLAIM_LIMIT = 10.0
"""Seconds an attempt keeps the renewal to itself: a renewal comes first in a run, and takes one request."""
WAIT_LIMIT = 20.0
"""Seconds to wait for another's renewal, at most."""
OUTDATED_WAIT = 1.0
"""Seconds after a refusal in which another's renewal may still arrive."""
_PAUSE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKind:
    """What must be known of an agent's login file. The functions get the content of the file."""

    provider: str
    """The provider's type, for the log."""
    missing: Callable[[object], str]
    """Make a sentence for a missing login from the reason."""
    renewal_due: Callable[[bytes, float], bool]
    """Whether the agent would renew the login before its first request, at a time in seconds since 1970 UTC."""
    is_over: Callable[[bytes, float], bool]
    """Whether the login has ended at that time."""
    is_renewable: Callable[[bytes], bool]
    """Whether the login can be renewed."""


class BorrowedLogin:
    """A login lent to one attempt."""

    def __init__(self, kind: LoginKind, lent: LentFile, claim: FileLock | None) -> None:
        self._kind = kind
        self._lent = lent
        self._first = lent.content
        self._claim = claim
        self._claim_ends = monotonic() + CLAIM_LIMIT

    @property
    def must_go_on(self) -> bool:
        """Whether the agent may be at renewing the login: to end it now could lose the new one."""
        return self._claim is not None

    @property
    def inherited(self) -> Sequence[int]:
        """The descriptor of the lock on the renewal, which the agent inherits; none without a claim."""
        return () if self._claim is None else (self._claim.descriptor,)

    def look(self) -> None:
        """Keep a renewed login at once, and let others have it. To be called often while the agent runs."""
        self._sync()
        if self._claim is not None and (self._lent.content != self._first or monotonic() > self._claim_ends):
            self.give_up_claim()

    def give_up_claim(self) -> None:
        """Let others renew. Called when the service has taken the login, too, which is then not renewed."""
        claim, self._claim = self._claim, None
        if claim is not None:
            try:
                self._sync(look_closely=True)  # the copy may have been renewed a moment ago
            finally:
                claim.release()

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
            if not self._kind.is_renewable(self._first) or monotonic() >= until:
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
                "%s: the agent renewed its login, which could not be kept in %s: %s",
                self._kind.provider, self._lent.original, error.strerror or type(error).__name__,
            )  # fmt: skip


@contextmanager
def borrowed_login(
    kind: LoginKind, original: Path, copy: Path, note: Path, *, budget: TimeBudget, now: float
) -> Iterator[BorrowedLogin]:
    """Lend the login `original` as `copy`; keep it if the agent renews it.

    Args:
        kind: What is known of such logins.
        original: The user's own.
        copy: Where the agent of this attempt looks for it.
        note: See `LentFile`.
        budget: The time of the attempt, for waiting until another has renewed the login.
        now: Seconds since 1970 UTC.

    Raises:
        AuthenticationError: there is no login, or it cannot be read. `sent` is False.
        ChildCancelledError: the attempt is cancelled.
    """
    content, claim = _claimed(kind, original, budget, now)
    try:
        login = BorrowedLogin(kind, LentFile(original, copy, note, content), claim)
    except BaseException:
        if claim is not None:
            claim.close()
        raise
    try:
        yield login
    finally:
        login.end()


def secrets_in_login(path: Path) -> list[str]:
    """Return every text in a login file that may be a key or a token."""
    try:
        login = login_object(read_regular_file(path, MAX_BYTES))
    except OSError:
        return []
    return [text for text in _texts(login) if len(text) >= 16]


def _claimed(kind: LoginKind, original: Path, budget: TimeBudget, now: float) -> tuple[bytes, FileLock | None]:
    """Return the login; with a claim to its renewal if it is due, after waiting for another who has that claim."""
    began = monotonic()
    waited = False
    while True:
        content = _read(kind, original)
        time = now + monotonic() - began
        # A login that still holds after another's turn is taken as it is: that other could not renew it.
        if not kind.renewal_due(content, time) or (waited and not kind.is_over(content, time)):
            return content, None
        try:
            lock = FileLock(original)
        except OSError:
            return content, None
        if not lock.is_held_by_another and lock.is_at(original) and _read(kind, original) == content:
            return content, lock
        held = lock.is_held_by_another
        lock.close()
        if held:
            if monotonic() - began >= WAIT_LIMIT or not budget.left:
                return content, None
            waited = True
            budget.pause(_PAUSE)


def _read(kind: LoginKind, original: Path) -> bytes:
    try:
        return read_regular_file(original, MAX_BYTES)
    except FileNotFoundError:
        raise AuthenticationError(kind.missing(f"{original} does not exist"), sent=False) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AuthenticationError(f"{original} cannot be read: {reason}", sent=False) from None


def login_object(content: bytes) -> Mapping[str, Any]:
    """Return the object that the content of a login file holds; empty if it holds none."""
    try:
        login = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return login if isinstance(login, dict) else {}


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
