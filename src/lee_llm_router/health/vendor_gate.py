"""Closes one target for as long as its vendor asked, then lets calls back in step by step.

How this works
--------------
A gate goes through four states; most targets only ever see the first:

- **open**: attempts pass freely. No rate is set.
- **closed** until `closed_until`: the vendor refused an attempt and named a wait (429 with Retry-After, say). No
  attempt passes. Further refusals that arrive now belong to the same burst; they can only make the wait longer.
- **probing**: the wait is over. One attempt, the leader, passes; the others wait for its result. If it fails or is
  cancelled, the next attempt leads.
- **paced**: the leader got an answer. Attempts pass one by one, `_rate` a second.

The rate starts at half of the target's usual rate. Each answer adds a fixed step, each new closing halves it (additive
increase, multiplicative decrease: Chiu and Jain, 1989). The gate is open again at the first answer that comes more
than a minute after the end of the last wait. So a burst over a limit becomes a queue, and costs few further refusals.

`Health.acquire` calls `opens_at`, and `start_attempt` once the returned time has come. `Health.release` calls
`record_answer` or `abandon` for an attempt that passed, then `close_for` if the vendor named a wait. This is arithmetic
only: the caller passes the time and holds the lock.
"""

from __future__ import annotations

_LEAST_START_RATE = 1.0
"""The lowest rate, in attempts per second, with which pacing starts."""
_LEAST_RATE = 0.02
"""Attempts per second below which halving stops: one in 50 seconds."""
_STEP = 0.1
"""The increase with each answer, as a share of the rate with which pacing started."""
_CALM_SECONDS = 60.0
"""Seconds after the last wait, without a new one, after which pacing ends."""


class VendorGate:
    """Open; or closed until some time, then probing, then paced."""

    __slots__ = ("_next_start", "_start_rate", "closed_until", "is_led", "leader_in_flight", "needs_pass", "rate")

    def __init__(self) -> None:
        self.closed_until = 0.0
        self.rate: float | None = None
        """Attempts per second that pass while paced; None while the gate is open and can be skipped."""
        self._start_rate = _LEAST_START_RATE
        self._next_start = 0.0
        """The earliest time for the next attempt while paced."""
        self.is_led = True
        """Whether the first attempt since the last wait was answered, or there was none; else only a leader passes."""
        self.needs_pass = False
        """Whether an attempt may lead only with the pass of a shared state, which this router does not hold."""
        self.leader_in_flight = False

    def close_for(self, now: float, seconds: float, usual_rate: float, share: float = 1.0) -> None:
        """Close for `seconds`, or for the rest of an earlier wait if that is longer.

        Args:
            now: The time.
            seconds: The wait that the vendor named.
            usual_rate: Answers per second that the target has given until now.
            share: This router's part of the least rate: below 1 if others call the same vendor.
        """
        is_new_burst = now >= self.closed_until
        self.closed_until = max(self.closed_until, now + seconds)
        if self.rate is None:
            self._start_rate = self.rate = max(_LEAST_START_RATE * share, usual_rate / 2)
        elif is_new_burst:
            self.rate = max(_LEAST_RATE, self.rate / 2)
        self.is_led = False

    def opens_at(self, now: float) -> float | None:
        """Return the earliest time for the next attempt; None if that depends on the leader's result."""
        if now < self.closed_until:
            return self.closed_until
        if self.rate is None:
            return now
        if not self.is_led:
            return None if self.leader_in_flight or self.needs_pass else now
        return max(now, self._next_start)

    def start_attempt(self, now: float) -> bool:
        """Record that an attempt passes, and return whether it is the leader. Call it only if `opens_at` permits."""
        if self.rate is None:
            return False
        if not self.is_led:
            self.leader_in_flight = True
            return True
        self._next_start = max(now, self._next_start) + 1 / self.rate
        return False

    def record_answer(self, now: float, *, leader: bool) -> None:
        """Record that an attempt that had passed got an answer."""
        if leader:
            self.leader_in_flight = False
            if now >= self.closed_until:  # else another attempt has closed the gate in the meantime
                self.is_led = True
                self._next_start = now + 1 / (self.rate or _LEAST_START_RATE)
        elif self.rate is not None and self.is_led:
            self.rate += _STEP * self._start_rate
            if now - self.closed_until > _CALM_SECONDS:
                self.rate = None

    def follow_leader(self, now: float) -> None:
        """Let attempts follow: another router's first attempt after the wait was answered."""
        if now >= self.closed_until and not self.is_led:
            self.is_led = True
            self._next_start = now + 1 / (self.rate or _LEAST_START_RATE)

    def abandon(self, *, leader: bool) -> None:
        """Record that an attempt that had passed failed or was cancelled; if it was the leader, the next one leads."""
        if leader:
            self.leader_in_flight = False
