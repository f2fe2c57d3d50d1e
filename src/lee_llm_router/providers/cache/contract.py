"""What a store of kept answers has to do. Bytes in, bytes out: it knows nothing of requests or answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeAlias

Found: TypeAlias = list[bytes | None]


class KeptValue(NamedTuple):
    """A value that is kept for some time, in place of any other under its key."""

    key: bytes
    value: bytes
    seconds: float


class AnswerStore(ABC):
    """Keeps values by key, each for a time. Any number of threads use one at once.

    Nothing that goes wrong is raised: what cannot be read is missing, what cannot be written is not kept. The first
    failure is a warning, and an outage costs no call more than 50 ms.
    """

    @abstractmethod
    def find(self, keys: Sequence[bytes]) -> Found:
        """Return the value of each key; None for those that are missing or too old."""

    def begin_find(self, keys: Sequence[bytes]) -> Future[Found] | None:  # noqa: ARG002 - most answer at once
        """Begin to look for `keys` elsewhere, and return what gives them later; None: `find` waits for nobody."""
        return None

    @abstractmethod
    def keep(self, values: Sequence[KeptValue]) -> None:
        """Keep all of `values`."""

    @abstractmethod
    def clear(self) -> int:
        """Forget everything; return how many values that were."""

    def close(self) -> None:
        """Release files and connections. It may be used again afterwards."""
        return
