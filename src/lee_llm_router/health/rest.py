"""A rest: how long a target, or a whole provider, that cannot serve is left alone. Arithmetic only."""

from __future__ import annotations


class Rest:
    """Keeps calls away for `shortest` seconds, doubling to `longest`; one attempt passes each time it has run out.

    Args:
        shortest: Seconds of the first rest.
        longest: Seconds of any rest at most.
    """

    __slots__ = ("_longest", "_shortest", "length", "reason", "until")

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self.length = 0.0
        """Seconds of the current rest; 0 while there is none."""
        self.until = 0.0
        """The moment from which an attempt may find out whether it is over."""
        self.reason = ""
        """The failure type that began it."""

    def begin(self, now: float, reason: str) -> None:
        """Begin a rest, or after a failed attempt a longer one."""
        self.length = min(self._longest, self.length * 2 or self._shortest)
        self.until = now + self.length
        self.reason = reason

    def start_attempt(self, now: float) -> None:
        """Note that an attempt passes: others stay away until its outcome is known, at most as long again."""
        if self.length:
            self.until = max(self.until, now + self.length)

    def end(self) -> None:
        """End it: an answer came."""
        self.length = self.until = 0.0
