"""The amounts spent in each period: in this process and, through a ledger, by others and before restarts.

How this works
--------------
A call adds its cost to the sum in memory, under a lock, and continues. A thread passes new amounts on to the ledger
within `FLUSH_SECONDS`, and ends when there is no work left. The ledger returns the sums of all processes. A sum is the
ledger's last value plus what this process has added since. The same thread refreshes old values, so another process's
spending becomes visible a moment later, and no call waits for a file.

A process that ends passes on the rest; one that is killed loses at most what it spent in its last `FLUSH_SECONDS`.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Iterable
from math import isfinite

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router._util.scrubbing import text_of_exception
from lee_llm_router.telemetry.pricing.contract import BudgetLedger

FLUSH_SECONDS = 0.05
"""Seconds until new amounts are in the ledger, and between refreshes of others' sums while calls are made."""
_LONGEST_PAUSE = 5.0
_DUST = 1e-12
"""Largest rounding error of a subtraction, in US dollars."""
_LAST_TRIES = 5
"""How often to offer the rest to the ledger at the end: others may hold its lock."""
_IDLE_ROUNDS = 20
"""Rounds without work after which the thread ends."""


class Spending:
    """The sums of all accounts. Safe to use from any thread.

    Args:
        ledger: Shares and stores them.
    """

    def __init__(self, ledger: BudgetLedger) -> None:
        self.ledger = ledger
        self.errors = 0
        """How often the ledger has failed."""
        self._lock = ForkLock(reentrant=True, in_child=self._drop_parents)
        self._at_ledger = ForkLock()
        """Held while the ledger is called."""
        self._shared: dict[str, float] = {}
        """The ledger's last values."""
        self._added: dict[str, float] = {}
        """Amounts added that the ledger does not know yet."""
        self._asked: set[str] = set()
        """Accounts that were read since the last call of the ledger."""
        self._thread: threading.Thread | None = None
        _open.add(self)
        self._closed = threading.Event()
        self._pause = FLUSH_SECONDS
        """Seconds until the thread calls the ledger again; longer after failures."""

    def load(self, accounts: Iterable[str]) -> None:
        """Read `accounts` from the ledger, blocking."""
        with self._lock:
            self._asked.update(accounts)
        self.flush()

    def spent(self, account: str) -> float:
        """Return the amount spent, as far as is known here."""
        with self._lock.inner:
            known = self._shared.get(account, 0.0) + self._added.get(account, 0.0)
            is_new = account not in self._asked
            self._asked.add(account)
        if is_new:
            self._start()
        return known

    def add(self, accounts: Iterable[str], usd: float) -> None:
        """Add the cost of an attempt to each of `accounts`."""
        with self._lock.inner:
            for account in accounts:
                self._added[account] = self._added.get(account, 0.0) + usd
        self._start()

    @property
    def has_more(self) -> bool:
        """Whether the ledger does not know all amounts yet."""
        return bool(self._added)

    def flush(self) -> bool:
        """Pass new amounts on to the ledger; return whether there was anything to do."""
        with self._at_ledger:
            with self._lock:
                amounts = {**dict.fromkeys(self._asked, 0.0), **self._added}
                self._asked.clear()
            if not amounts:
                return False
            try:
                sums = self.ledger.add(amounts)
                shared = {name: float(sums[name]) for name in amounts if isfinite(float(sums[name]))}
            except Exception as error:  # noqa: BLE001 - a ledger that fails must not break a call
                self._failed(error)
                return bool(self._added)
            self._pause = FLUSH_SECONDS
            with self._lock:
                self._shared.update(shared)
                for name, usd in amounts.items():
                    left = self._added.pop(name, 0.0) - usd
                    if left > _DUST:
                        self._added[name] = left
        return True

    def close(self) -> None:
        """Pass on the rest, and let the thread end. Calls in flight may still add to it."""
        self._closed.set()
        self.hand_over_rest()

    def hand_over_rest(self) -> None:
        """Pass new amounts on to the ledger, in several tries if necessary: this may be the last chance."""
        for _ in range(_LAST_TRIES):
            self.flush()
            if not self.has_more:
                return

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        if self.errors == 1:
            reason = text_of_exception(error)
            logger.warning("what was spent cannot be kept, so budgets hold for this process only: %s", reason)

    def _start(self) -> None:
        """Make sure that the thread runs."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="lee-llm-router-budgets", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:  # no thread can start now, or the interpreter is ending
                        return
                    self._thread = thread

    def _run(self) -> None:
        idle = 0
        while idle < _IDLE_ROUNDS and not self._closed.wait(self._pause):
            idle = 0 if self.flush() else idle + 1
        if self._closed.is_set():
            self.hand_over_rest()
        with self._lock:
            self._thread = None
            rest = bool(self._added)
        if rest and not self._closed.is_set():
            self._start()

    def _drop_parents(self) -> None:
        """In a forked child, drop the parent's amounts, which the parent passes on."""
        self._added.clear()
        self._thread = None


_open: weakref.WeakSet[Spending] = weakref.WeakSet()


def _hand_over_all() -> None:
    """Flush what nobody has closed: a program may end right after its last call."""
    for spending in list(_open):
        if spending.has_more:
            spending.hand_over_rest()


atexit.register(_hand_over_all)
