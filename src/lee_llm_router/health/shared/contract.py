"""The contract of a shared state, through which routers of many processes and hosts agree on limits and doors.

How this works
--------------
A router decides about every call with what it holds itself (`Health`), without asking anybody. The part of a limit that
it may use was lent to it before, as a lease. A `StateLink` (`link.py`) renews leases, reports what was used and what
has changed, and learns what others have changed. It does all this in one `exchange` at a time.

There are two kinds of scope, each named by a text:

- **limits**: they bound the attempts at a provider, a key or a model: attempts started and tokens used in any 60
  seconds (`rpm`, `tpm`), concurrent attempts (`max_concurrency`); and the retry budget of a provider;
- **doors**: they keep attempts away from a target or a provider: breaker, vendor's wait, rest.

Each reporter is a `member`: a random text for each router and scope, new in a forked child. A member reports everything
it holds (permits to start, tokens, slots, the pass of a door) each time, and the report replaces the previous one, so
that an exchange whose answer was lost is corrected by the next. It is lent for `lease` seconds from each exchange;
after that, everything the member has not reported as used is free again. Starts and tokens are added up: those of an
exchange whose answer was lost count twice, which makes a limit stricter for a minute.

An implementation decides each report in one atomic step (one script, one transaction), by its own clock: the members'
clocks need not agree, so every time here is a number of seconds from now, or ago. `limits_rules.py` and `door_rules.py`
have the arithmetic, without storage. Memory and SQLite use it; other implementations (a script in Redis) must pass the
same tests (`tests/health/test_shared_state.py`).

Only text and numbers are exchanged: no key of a vendor, no word of a prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from lee_llm_router._util.data_class import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """Use at some time in the past."""

    seconds_ago: float
    starts: int = 0
    """Attempts that started."""
    tokens: int = 0
    """Tokens reserved by them; negative if an attempt has used fewer than it had reserved."""


@dataclass(frozen=True, slots=True)
class LimitsReport:
    """One member's report and request for one limits scope."""

    scope: str
    member: str
    lease: float
    """Seconds for which its holdings are lent to it."""
    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    """The limits in this member's configuration; None: not limited, and nothing of it is lent."""
    used: tuple[Use, ...] = ()
    """What it has used since its last report, each use with its time."""
    starts_held: int = 0
    """Permits to start an attempt that it holds unused."""
    tokens_held: int = 0
    """Tokens that it holds unused."""
    in_flight: int = 0
    """Its attempts in progress: slots that cannot be taken from it, even above the limit."""
    starts_wanted: int = 0
    """Permits that it wants to hold in total."""
    tokens_wanted: int = 0
    """Tokens that it wants to hold in total; at most `tpm`."""
    tokens_needed: int = 0
    """Tokens that its next attempt needs: with fewer it waits."""
    slots_wanted: int = 0
    """Concurrent attempts that it wants in total, including those in flight."""
    retries_spent: float = 0.0
    """What it has taken from the retry budget since its last report."""
    retries_earned: float = 0.0
    """What answers have added to the retry budget since its last report."""
    retry_burst: float = 0.0
    """The most that the retry budget holds, and its initial content."""
    leaves: bool = False
    """Whether it holds nothing any more and will not report again."""


@dataclass(frozen=True, slots=True)
class LimitsView:
    """What a member holds of a limits scope after its report, and what it knows about the scope.

    It never holds more than it wanted, apart from attempts in flight; and if it still wants the starts or tokens that
    it held, it keeps them.
    """

    starts: int = 0
    """Permits to start an attempt that it now holds in total."""
    tokens: int = 0
    """Tokens that it now holds in total."""
    slots: int = 0
    """Concurrent attempts that it may now have, including those in flight."""
    next_in: float | None = None
    """Seconds until it may get more of what it wanted; None: it got everything, or at least one more attempt."""
    is_contended: bool = False
    """Whether others want slots in vain, so that a slot which becomes free goes back at once."""
    retries: float = 0.0
    """The content of the retry budget."""


@dataclass(frozen=True, slots=True)
class Rest:
    """How long to leave alone a target or provider that cannot serve."""

    seconds: float
    """The remaining seconds."""
    length: float
    """Its whole length: the next one is longer."""
    reason: str
    """The failure type that began it."""


@dataclass(frozen=True, slots=True)
class DoorReport:
    """One member's report and request for one door. A field that is None or False means no change."""

    scope: str
    member: str
    lease: float
    """Seconds for which the pass is lent to it."""
    opened_for: float | None = None
    """Its breaker has opened: seconds until a probe may start. If the door is open already, the earlier time stays."""
    reopened_for: float | None = None
    """A probe has failed: seconds until the next one may start. It replaces the noted time, and ends the pass."""
    closed: bool = False
    """Its probe was answered: the breaker is closed. It ends the pass."""
    waits_for: float | None = None
    """Seconds that the vendor has asked to wait. The longer wait counts."""
    led: bool = False
    """Whether the first attempt after a vendor's wait was answered: others may follow. It ends the pass."""
    rest: Rest | None = None
    """A rest has begun, or was extended by an attempt that tests whether it is over. The later end counts."""
    rested: bool = False
    """Whether an answer came: the rest is over."""
    forgets: bool = False
    """Whether a user asks to forget everything. The rest of the same report applies after that."""
    wants_pass: bool = False
    """Whether it wants to make the one attempt that an open breaker, or an expired vendor's wait, lets through."""
    despite_time: bool = False
    """Whether it wants the pass even before the breaker's time, since a call's patience has ended."""
    keeps_pass: bool = False
    """Whether that attempt is in progress."""
    drops_pass: bool = False
    """Whether that attempt has ended without an outcome."""


@dataclass(frozen=True, slots=True)
class DoorView:
    """The state of a door after a report."""

    version: int = 0
    """Grows with every change of what keeps attempts away; the pass does not count. 0: nothing was ever reported."""
    is_open: bool = False
    """Whether the breaker is open (no attempts pass)."""
    probe_in: float = 0.0
    """Seconds until a probe may start, while it is open."""
    waits_for: float = 0.0
    """Remaining seconds of the vendor's wait."""
    is_led: bool = True
    """Whether the first attempt after the vendor's wait was answered, or there was no wait. While False, one passes."""
    rest: Rest | None = None
    """The rest, even if it has run out and nobody has answered since; None if there is none."""
    has_pass: bool = False
    """Whether this member may make the one attempt."""
    is_passed: bool = False
    """Whether another member has the pass."""
    others: int = 0
    """Other members that have reported on this door within their lease."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The answers to the reports of an exchange, in their order."""

    limits: Sequence[LimitsView]
    doors: Sequence[DoorView]


@runtime_checkable
class SharedState(Protocol):
    """The place where routers agree. Its class attribute `config_model` is a `StateSettings` (`settings.py`).

    It may have a method `budget_ledger()`, which returns the `BudgetLedger` for budgets if the application gives none.

    `exchange` is called from one thread at a time, and `wait_for_changes` from another at the same time; neither is
    ever called on an event loop. After a fork the child uses the same object: it must open its own connections.
    """

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        """Take reports and answer each; without reports, find out whether the state answers at all.

        Raises:
            Exception: any; the state then counts as gone for this router, which tries again later. It must be raised
                within `StateSettings.timeout` seconds. Do not retry here: that would count twice.
        """
        ...

    def wait_for_changes(self, seconds: float) -> Collection[str] | None:
        """Wait until the version of a door changes, for at most `seconds`, and return the scopes of such doors.

        They may include doors whose change this object has itself reported. Return an empty collection if nothing has
        changed, and None if the changes are unknown (after a lost connection, say): then the caller asks for all doors.

        Raises:
            Exception: any; the caller waits a moment and tries again.
        """
        ...

    def close(self) -> None:
        """Close connections, and make `wait_for_changes` return. May be called twice, and during other calls."""
        ...
