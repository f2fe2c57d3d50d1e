"""A rest: how long to leave alone a target, or a whole provider, that cannot serve. Arithmetic only."""

from __future__ import annotations


class Rest:
    """Keeps calls away for `shortest` seconds, doubling to `longest`; one attempt passes each time it runs out.

    Args:
        shortest: Seconds of the first rest.
        longest: The most seconds of any rest.
    """

    __slots__ = ("_longest", "_shortest", "length", "reason", "until")

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self.length = 0.0
        """Seconds of the current rest; 0 while there is none."""
        self.until = 0.0
        """The time from which an attempt may find out whether it is over."""
        self.reason = ""
        """The failure type that began it."""

    def begin(self, now: float, reason: str) -> None:
        """Begin a rest; after a failed attempt, a longer one."""
        self.length = min(self._longest, self.length * 2 or self._shortest)
        self.until = now + self.length
        self.reason = reason

    def start_attempt(self, now: float) -> None:
        """Record that an attempt passes: others stay away until its outcome is known, at most as long again."""
        if self.length:
            self.until = max(self.until, now + self.length)

    def end(self) -> None:
        """End the rest: an answer came."""
        self.length = self.until = 0.0
