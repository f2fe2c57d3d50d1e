"""The user's login, a JSON file, lent to an attempt as a copy in its private agent home.

A login is renewed with a token that works only once, so if several attempts renew it, one succeeds:

- An attempt whose login is due for renewal claims the renewal, with a lock on the file that other processes respect
  too. Others wait for the renewed login, and use that. The claiming agent is not ended before, or only after a moment
  (`must_go_on`): the service may have renewed the login already. The agent inherits the lock, so that the lock survives
  this process.
- A renewed copy replaces the original while the agent still runs, and a renewed original replaces the copies
  (`LentFile`).
- An agent may also renew a login that seemed good, when the service refuses it. If an attempt is refused after another
  has renewed the login, it is repeated once, unless the agent has already acted (`BorrowedLogin.is_outdated`).
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
"""Seconds that an attempt may hold the claim: a renewal is the first step of a run, and takes one request."""
WAIT_LIMIT = 20.0
"""Most seconds to wait for another attempt's renewal."""
OUTDATED_WAIT = 1.0
"""Seconds after a refusal in which another attempt's renewal may still arrive."""
_PAUSE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKind:
    """What must be known of an agent's login file. The functions get the file's content."""

    provider: str
    """The provider's type, for the log."""
    missing: Callable[[object], str]
    """Makes the message for a missing login from the reason."""
    renewal_due: Callable[[bytes, float], bool]
    """Whether the agent would renew the login before its first request, at a time in seconds since 1970 UTC."""
    is_over: Callable[[bytes, float], bool]
    """Whether the login has expired at that time."""
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
        """Whether the agent may be renewing the login: ending it now could lose the new one."""
        return self._claim is not None

    @property
    def inherited(self) -> Sequence[int]:
        """The descriptor of the lock on the renewal, which the agent inherits; none without a claim."""
        return () if self._claim is None else (self._claim.descriptor,)

    def look(self) -> None:
        """Keep a renewed login at once, and share it with others. Call often while the agent runs."""
        self._sync()
        if self._claim is not None and (self._lent.content != self._first or monotonic() > self._claim_ends):
            self.give_up_claim()

    def give_up_claim(self) -> None:
        """Let others renew. Also called when the service has accepted the login, which then needs no renewal."""
        claim, self._claim = self._claim, None
        if claim is not None:
            try:
                self._sync(look_closely=True)  # the copy may have just been renewed
            finally:
                claim.release()

    def is_outdated(self, budget: TimeBudget) -> bool:
        """Whether somebody else has renewed the login, so that a refusal means nothing; waits a moment for that.

        Raises:
            ChildCancelledError: the attempt was cancelled.
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
        """Look for the last time, before the copy is removed."""
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
        kind: Describes such logins.
        original: The user's file.
        copy: Where the agent of this attempt looks for it.
        note: See `LentFile`.
        budget: The time of the attempt, which limits the wait for another attempt's renewal.
        now: Seconds since 1970 UTC.

    Raises:
        AuthenticationError: there is no login, or it cannot be read. `sent` is False.
        ChildCancelledError: the attempt was cancelled.
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
    """Return the login; claim its renewal if it is due, after waiting for any attempt that holds the claim."""
    began = monotonic()
    waited = False
    while True:
        content = _read(kind, original)
        time = now + monotonic() - began
        # A login that is still valid after another attempt's turn is used unchanged: that attempt could not renew it.
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
    """Return the object in a login file; empty if there is none."""
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
            # Not secret, and likely to occur in ordinary text: a date, and the name of a login method.
            waiting += [one for key, one in value.items() if key not in ("last_refresh", "auth_mode")]
        elif isinstance(value, list):
            waiting += value
