"""What was spent in each period, in this process and, by a ledger, over others and over restarts.

How this works
--------------
A call adds what it cost to the sum in memory, under a lock, and goes on. What was added is handed to the ledger within
`FLUSH_SECONDS`, by a thread that ends when there is nothing left to do; the ledger answers with the sums of all
processes. Whoever asks for a sum gets what the ledger said last and what this process has added since. An old answer is
renewed by the same thread, so another process's spending is seen a moment later, and no call waits for a file.

A process that ends hands over the rest; one that is killed loses what it spent in its last `FLUSH_SECONDS` at most.
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
"""Seconds after which what was spent is with the ledger, and a sum of others is renewed while calls are made."""
_LONGEST_PAUSE = 5.0
_DUST = 1e-12
"""US dollars that a subtraction of sums may leave."""
_LAST_TRIES = 5
"""How often the rest is offered to the ledger at the end: others may have held its lock."""
_IDLE_ROUNDS = 20
"""Rounds without work after which the thread ends."""


class Spending:
    """The sums of all accounts. Safe to use from any thread.

    Args:
        ledger: Shares and keeps them.
    """

    def __init__(self, ledger: BudgetLedger) -> None:
        self.ledger = ledger
        self.errors = 0
        """How often the ledger has failed."""
        self._lock = ForkLock(reentrant=True, in_child=self._drop_parents)
        self._at_ledger = ForkLock()
        """Held while the ledger is called."""
        self._shared: dict[str, float] = {}
        """What the ledger said last."""
        self._added: dict[str, float] = {}
        """What was added and the ledger does not know yet."""
        self._asked: set[str] = set()
        """Accounts that were asked for since the ledger was called last."""
        self._thread: threading.Thread | None = None
        _open.add(self)
        self._closed = threading.Event()
        self._pause = FLUSH_SECONDS
        """Seconds until the thread calls the ledger again; longer while that fails."""

    def load(self, accounts: Iterable[str]) -> None:
        """Ask the ledger for `accounts`, here and now."""
        with self._lock:
            self._asked.update(accounts)
        self.flush()

    def spent(self, account: str) -> float:
        """Return what was spent, as far as is known here."""
        with self._lock.inner:
            known = self._shared.get(account, 0.0) + self._added.get(account, 0.0)
            is_new = account not in self._asked
            self._asked.add(account)
        if is_new:
            self._start()
        return known

    def add(self, accounts: Iterable[str], usd: float) -> None:
        """Add what an attempt cost to each of `accounts`."""
        with self._lock.inner:
            for account in accounts:
                self._added[account] = self._added.get(account, 0.0) + usd
        self._start()

    @property
    def has_more(self) -> bool:
        """Whether something was added that the ledger does not know yet."""
        return bool(self._added)

    def flush(self) -> bool:
        """Hand over to the ledger what it does not know yet; return whether there was anything to do."""
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
        """Hand over what is left, and let the thread end. Calls under way may still add to it."""
        self._closed.set()
        self.hand_over_rest()

    def hand_over_rest(self) -> None:
        """Hand over to the ledger what it does not know yet, in a few tries if need be: there may be no later."""
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
        """See to it that the thread runs."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="lee-llm-router-budgets", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:  # no thread can be started now, or the interpreter ends
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
        """In a forked child: what the parent has added, the parent hands over."""
        self._added.clear()
        self._thread = None


_open: weakref.WeakSet[Spending] = weakref.WeakSet()


def _hand_over_all() -> None:
    """Flush what nobody has closed: a program may end right after its last call."""
    for spending in list(_open):
        if spending.has_more:
            spending.hand_over_rest()


atexit.register(_hand_over_all)
