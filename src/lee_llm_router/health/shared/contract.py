"""What a shared state is: where routers of many processes and hosts agree on limits and doors.

How this works
--------------
A router decides about every call by what it holds itself (`Health`), without asking anybody. What it may use up of a
limit it has been lent before, as a lease. A `StateLink` (`link.py`) renews leases, says what was used, tells what has
changed and hears what others have changed. It does so with one `exchange` for all that it has to say.

There are two kinds of scope, each named by a text:

- **limits**: what bounds attempts at a provider, at a key or at a model: attempts started and tokens used in any 60
  seconds (`rpm`, `tpm`), attempts at once (`max_concurrency`); and the retry budget of a provider;
- **doors**: what keeps attempts away from a target or a provider: breaker, vendor's wait, rest.

Whoever reports is a `member`: a random text for each router and scope, new in a forked child. What a member holds
(permits to start, tokens, slots, the pass of a door) is said as a whole each time and replaces what was noted of it, so
that an exchange whose answer was lost is put right by the next one. It is lent for `lease` seconds from each exchange;
then whatever the member has not said it used is free again. Starts and tokens are added up: those of an exchange whose
answer was lost count twice, which for a minute holds a limit more strictly.

An implementation decides each report in one step that nothing can come between (one script, one transaction), by its
own clock: no two members need clocks that agree, so every time here is a number of seconds from now, or ago.
`limits_rules.py` and `door_rules.py` have the arithmetic, without storage: memory and SQLite use it, and whoever does
it elsewhere (a script in Redis) is held to the same tests (`tests/health/test_shared_state.py`).

Text and numbers only are exchanged. No key of a vendor, no word of a prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from lee_llm_router._util.data_class import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """What was used some time ago."""

    seconds_ago: float
    starts: int = 0
    """Attempts that started."""
    tokens: int = 0
    """Tokens reserved by them; below 0 where an attempt has used fewer than it had reserved."""


@dataclass(frozen=True, slots=True)
class LimitsReport:
    """What one member says of one limits scope, and asks for."""

    scope: str
    member: str
    lease: float
    """Seconds for which what it holds is lent to it."""
    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    """The limits, as this member's configuration has them; None: not limited, and nothing is lent of it."""
    used: tuple[Use, ...] = ()
    """What it used since its last report, each at its time."""
    starts_held: int = 0
    """Permits to start an attempt that it holds and has not used."""
    tokens_held: int = 0
    """Tokens that it holds and has not used."""
    in_flight: int = 0
    """Attempts that it has under way: slots that cannot be taken from it, even above the limit."""
    starts_wanted: int = 0
    """Permits that it wants to hold in all, those held included."""
    tokens_wanted: int = 0
    """Tokens that it wants to hold in all, those held included; at most `tpm`."""
    tokens_needed: int = 0
    """Tokens that its next attempt needs: with fewer it waits."""
    slots_wanted: int = 0
    """Attempts at once that it wants to have in all, those in flight included."""
    retries_spent: float = 0.0
    """What it took from the retry budget since its last report."""
    retries_earned: float = 0.0
    """What answers have added to the retry budget since its last report."""
    retry_burst: float = 0.0
    """The most that the retry budget holds, and holds at first."""
    leaves: bool = False
    """Whether it holds nothing any more and will not be heard of again."""


@dataclass(frozen=True, slots=True)
class LimitsView:
    """What a member holds of a limits scope after its report, and what it knows of it.

    It never holds more than it wanted, apart from what is in flight; nor fewer starts or tokens than it held, if it
    wants them still.
    """

    starts: int = 0
    """Permits to start an attempt that it holds now in all."""
    tokens: int = 0
    """Tokens that it holds now in all."""
    slots: int = 0
    """Attempts that it may have at once now, those in flight included."""
    next_in: float | None = None
    """Seconds after which it may get more of what it wanted; None: it got all, or at least one more attempt."""
    is_contended: bool = False
    """Whether others want slots and do not get them, so that a slot which becomes free goes back at once."""
    retries: float = 0.0
    """What the retry budget holds."""


@dataclass(frozen=True, slots=True)
class Rest:
    """How long one that cannot serve is left alone."""

    seconds: float
    """What is left of it."""
    length: float
    """Its whole length: the next one is longer."""
    reason: str
    """The failure type that began it."""


@dataclass(frozen=True, slots=True)
class DoorReport:
    """What one member says of one door, and asks for. What is None or False says that nothing has changed here."""

    scope: str
    member: str
    lease: float
    """Seconds for which the pass is lent to it."""
    opened_for: float | None = None
    """Its breaker has opened: seconds until a probe may start. One that is open already keeps the earlier moment."""
    reopened_for: float | None = None
    """A probe has failed: seconds until the next one may start. It replaces what is noted, and ends the pass."""
    closed: bool = False
    """Its probe was answered: the breaker is closed. It ends the pass."""
    waits_for: float | None = None
    """The vendor has asked to wait: seconds. The longer wait counts."""
    led: bool = False
    """The first attempt after a vendor's wait was answered: others may follow. It ends the pass."""
    rest: Rest | None = None
    """A rest has begun, or an attempt that finds out whether it is over puts it off. The later end counts."""
    rested: bool = False
    """An answer came: there is no rest any more."""
    forgets: bool = False
    """Everything is forgotten, on a user's word. What else is said in the same report comes after it."""
    wants_pass: bool = False
    """It wants to make the one attempt that an open breaker, or a vendor's wait that is over, lets through."""
    despite_time: bool = False
    """Whether it wants the pass even before the breaker's time, since a call's patience has ended."""
    keeps_pass: bool = False
    """Whether that attempt is under way."""
    drops_pass: bool = False
    """Whether that attempt has ended without an outcome."""


@dataclass(frozen=True, slots=True)
class DoorView:
    """How a door stands after a report."""

    version: int = 0
    """Grows with every change of what keeps attempts away; the pass does not count. 0: nothing was ever said of it."""
    is_open: bool = False
    """Whether the breaker is open (no attempts pass)."""
    probe_in: float = 0.0
    """Seconds until a probe may start, while it is open."""
    waits_for: float = 0.0
    """Seconds that are left of the vendor's wait."""
    is_led: bool = True
    """Whether the first attempt after the vendor's wait was answered, or there was no wait. While False, one passes."""
    rest: Rest | None = None
    """The rest, also when it has run out and nobody has answered since; None: there is none."""
    has_pass: bool = False
    """Whether this member may make the one attempt."""
    is_passed: bool = False
    """Whether another member has the pass."""
    others: int = 0
    """Members apart from this one that have spoken of this door within their lease."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The answers to the reports of an exchange, in their order."""

    limits: Sequence[LimitsView]
    doors: Sequence[DoorView]


@runtime_checkable
class SharedState(Protocol):
    """Where routers agree. Its class attribute `config_model` is a `StateSettings` (`settings.py`).

    It may have a method `budget_ledger()`, which returns the `BudgetLedger` that budgets are kept in where the
    application gives none.

    `exchange` is called from one thread at a time, and `wait_for_changes` from another at the same time; neither ever
    on an event loop. After a fork the child uses the same object: it must open connections of its own.
    """

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        """Take reports and answer each; with none, find out whether the state answers at all.

        Raises:
            Exception: any; the state is then gone for this router, which asks again later. It must be raised within
                `StateSettings.timeout` seconds. Nothing may be tried again here: that would count twice.
        """
        ...

    def wait_for_changes(self, seconds: float) -> Collection[str] | None:
        """Wait until the version of a door changes, for at most `seconds`, and return the scopes of such doors.

        Doors whose change this object has itself reported may be among them. It returns an empty collection when
        nothing has changed, and None if it cannot tell what has (after a lost connection, say): then all are asked for.

        Raises:
            Exception: any; the caller waits a moment and asks again.
        """
        ...

    def close(self) -> None:
        """Close connections, and let `wait_for_changes` return. It may be called twice, and while others are within."""
        ...
