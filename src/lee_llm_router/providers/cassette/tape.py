"""The file of a cassette: which exchange comes next, and how one is recorded.

How this works
--------------
A file is read once, when a router opens it. Equal requests get their recorded results in order, and each router starts
with the first. One write appends a recorded exchange, so that a killed process leaves a readable file, and several
processes may record at once.
"""

from __future__ import annotations

import json
import os
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.log import logger
from lee_llm_router._util.regular_files import open_regular_file
from lee_llm_router.errors import ConfigError, ProviderError, UnrecordedRequestError
from lee_llm_router.providers.cassette.cassette_text import HEAD, exchanges_in, written
from lee_llm_router.providers.cassette.differences import differences, nearest
from lee_llm_router.providers.cassette.settings import CassetteMode

_begun: set[str] = set()
"""Files that this process has begun in mode `record`: its other routers continue them."""
_recording: weakref.WeakSet[Tape] = weakref.WeakSet()
"""Tapes being recorded in mode `once`: other routers of this process may record on them too."""
_lock = ForkLock()


class Tape:
    """A cassette as one router uses it.

    Args:
        path: The file.
        mode: When to ask providers.
        with_raw: Whether to record the vendor's own form of answers.

    Raises:
        ConfigError: the file cannot be read, or is missing although required.
    """

    def __init__(self, path: Path, mode: CassetteMode, *, with_raw: bool = True) -> None:
        self.path = path
        self.mode = mode
        self.with_raw = with_raw
        name = str(path)
        with _lock:
            is_there = path.exists()
            is_open = any(tape.path == path for tape in _recording)
            self.may_ask = mode in ("new", "record") or (mode == "once" and (is_open or not is_there))
            """Whether providers are asked what is not in it."""
            if mode == "replay" and not is_there:
                raise ConfigError(
                    f"the cassette {path} does not exist, and its mode is replay: record it first", sent=False
                )
            if not is_there or (mode == "record" and name not in _begun):
                if is_there:
                    self._read()  # refuses a file that is no cassette, so that it is not overwritten
                self._begin()
            if mode == "record":
                _begun.add(name)
            elif mode == "once" and self.may_ask:
                _recording.add(self)
        self._exchanges = self._read() if is_there and mode != "record" else []
        self._left: dict[str, deque[int]] = {}
        for number, exchange in enumerate(self._exchanges):
            self._left.setdefault(_key(exchange["request"]), deque()).append(number)
        self._played: dict[str, int] = {}
        self._lock = ForkLock()

    def next_for(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the exchange to replay for `request`; None if the provider should be asked.

        Raises:
            UnrecordedRequestError: there is none, and nobody may be asked.
        """
        key = _key(request)
        with self._lock:
            left = self._left.get(key)
            if left:
                self._played[key] = self._played.get(key, 0) + 1
                return self._exchanges[left.popleft()]
        if self.may_ask:
            return None
        raise self.missing(request)

    def missing(self, request: Mapping[str, Any]) -> UnrecordedRequestError:
        """Return the error for a request that is not recorded, or not often enough."""
        played = self._played.get(_key(request))
        if played:
            what = f"this request is in it {played} time{'' if played == 1 else 's'}, and was asked once more"
        else:
            number = nearest(request, [exchange["request"] for exchange in self._exchanges])
            what = "nothing is recorded"
            if number is not None:
                told = differences(self._exchanges[number]["request"], request)
                what = f"this request is not in it; the nearest is number {number + 1}, with {told}"
        hint = "mode: new records it"
        return UnrecordedRequestError(f"cassette {self.path.name}: {what} ({hint})", sent=False, final=True)

    def record(self, request: Mapping[str, Any], came: Mapping[str, Any]) -> None:
        """Append an exchange.

        Raises:
            ProviderError: it cannot be written. A test must not pass with half a cassette.
        """
        try:
            self._append(written({"request": request, **came}))
        except OSError as error:
            message = f"the cassette {self.path} cannot be written: {error.strerror}"
            raise ProviderError(message, final=True, local_shortage=True) from error

    def close(self) -> None:
        """End the recording: the next router replays it."""
        with _lock:
            _recording.discard(self)

    def unplayed(self) -> int:
        """Return how many recorded exchanges nobody has asked for."""
        with self._lock:
            return sum(map(len, self._left.values()))

    def _begin(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(HEAD)
        except OSError as error:
            raise ConfigError(f"the cassette {self.path} cannot be written: {error.strerror}", sent=False) from None

    def _append(self, document: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO has taken its place
        descriptor = os.open(self.path, flags, 0o666)
        start = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            left = memoryview(document)
            while left:
                left = left[os.write(descriptor, left) :]
        except BaseException:
            # Otherwise the next recording would land in the middle of it, and make the file unreadable.
            with suppress(OSError):
                os.ftruncate(descriptor, start)
            raise
        finally:
            os.close(descriptor)

    def _read(self) -> list[dict[str, Any]]:
        try:
            with os.fdopen(open_regular_file(self.path), "rb") as file:
                exchanges, is_cut = exchanges_in(file.read())
        except OSError as error:
            raise ConfigError(f"the cassette {self.path} cannot be read: {error.strerror}", sent=False) from None
        except ValueError as error:
            raise ConfigError(f"the cassette {self.path}: {error}", sent=False) from None
        if is_cut:
            logger.warning("the end of the cassette %s is missing: its last exchange is left out", self.path)
            if self.may_ask:
                self._append(b"\n")  # the next recording begins on a new line
        return exchanges


def _key(request: Mapping[str, Any]) -> str:
    return json.dumps(request, sort_keys=True)
