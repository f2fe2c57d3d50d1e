"""What a store of kept answers has to do. Bytes in, bytes out: it knows nothing of requests or answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar


class AnswerStore(ABC):
    """Keeps values by key, each for a time. Any number of threads use one at once.

    Nothing that goes wrong is raised: what cannot be read is missing, what cannot be written is not kept. The first
    failure is a warning, and an outage costs no call more than 50 ms.
    """

    finding_waits: ClassVar[bool] = False
    """Whether `find` may wait for somebody else, so that it is not called on an event loop."""
    keeping_waits: ClassVar[bool] = False
    """As `finding_waits`, of `keep`."""

    @abstractmethod
    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key; None for those that are missing or too old."""

    @abstractmethod
    def keep(self, key: bytes, value: bytes, seconds: float) -> None:
        """Keep `value` for `seconds`, in place of any other."""

    @abstractmethod
    def clear(self) -> int:
        """Forget everything; return how many values that were."""

    def close(self) -> None:
        """Release files and connections. It may be used again afterwards."""
        return
