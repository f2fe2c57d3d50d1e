"""The contract of a store for cached answers. Bytes in, bytes out: it knows nothing of requests or answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeAlias

Found: TypeAlias = list[bytes | None]


class KeptValue(NamedTuple):
    """A value to keep for some time, replacing any other under its key."""

    key: bytes
    value: bytes
    seconds: float


class AnswerStore(ABC):
    """Keeps values by key, each for a limited time. Any number of threads may use one at once.

    It raises no errors: a value that cannot be read counts as missing, and one that cannot be written is dropped. The
    first failure logs a warning, and an outage costs no call more than 50 ms.
    """

    @abstractmethod
    def find(self, keys: Sequence[bytes]) -> Found:
        """Return the value of each key; None for those that are missing or expired."""

    def begin_find(self, keys: Sequence[bytes]) -> Future[Found] | None:  # noqa: ARG002 - most answer at once
        """Start looking for `keys` elsewhere, and return a function that gets the values later; None: `find` never
        waits."""
        return None

    @abstractmethod
    def keep(self, values: Sequence[KeptValue]) -> None:
        """Keep all of `values`."""

    @abstractmethod
    def clear(self) -> int:
        """Forget everything; return how many values there were."""

    def close(self) -> None:
        """Release files and connections. The store may be used again afterwards."""
        return
