"""A store whose slow work happens in its own thread, so that no call and no event loop waits for it.

How this works
--------------
Values to keep are queued and written later, all queued values at once; until then they are found here. With `finds`,
the thread also looks values up, again in batches. The thread starts with the first work, and ends with `close`. At the
end of the program it gets a moment to finish.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeAlias

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.providers.cache.contract import AnswerStore, Found, KeptValue

_FLUSH_SECONDS = 0.25
"""Most seconds that the end of a router, or of the program, waits for pending writes."""
_MOST_PENDING = 10_000
"""Values that wait to be written; further ones are dropped."""
_MOST_AT_ONCE = 500


class _Look:
    """Keys to look up."""

    __slots__ = ("found", "keys")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = keys
        self.found: Future[Found] = Future()


_Work: TypeAlias = _Look | threading.Event | None
"""The thread's next task: look up, report that it has come this far, or write what is queued."""


class BackgroundStore(AnswerStore):
    """Keeps values in `inner`, with a thread.

    Args:
        inner: The store that does the work.
        finds: Whether the thread looks values up too.
    """

    def __init__(self, inner: AnswerStore, *, finds: bool) -> None:
        self._inner = inner
        self._finds = finds
        self._lock = ForkLock(in_child=self._forget)
        self._pending: dict[bytes, KeptValue] = {}
        self._work: SimpleQueue[_Work] = SimpleQueue()
        self._thread: threading.Thread | None = None
        _stores.add(self)

    def find(self, keys: Sequence[bytes]) -> Found:
        """As `AnswerStore.find`, in this thread."""
        if not self._pending:
            return self._inner.find(keys)
        with self._lock:
            known = [self._pending.get(key) for key in keys]
        if all(known):
            return [one and one.value for one in known]
        found = self._inner.find(keys)
        return [value if one is None else one.value for one, value in zip(known, found, strict=True)]

    def begin_find(self, keys: Sequence[bytes]) -> Future[Found] | None:
        """As `AnswerStore.begin_find`."""
        if not self._finds:
            return None
        look = _Look(keys)
        self._do(look)
        return look.found

    def keep(self, values: Sequence[KeptValue]) -> None:
        """As `AnswerStore.keep`, later."""
        with self._lock:
            if len(self._pending) >= _MOST_PENDING:
                return
            self._pending.update((one.key, one) for one in values)
        self._do(None)

    def clear(self) -> int:
        """As `AnswerStore.clear`."""
        self.flush()
        return self._inner.clear()

    def flush(self) -> None:
        """Wait a moment for pending writes."""
        if self._thread is not None:
            done = threading.Event()
            self._do(done)
            done.wait(_FLUSH_SECONDS)

    def close(self) -> None:
        """As `AnswerStore.close`; gives pending writes a moment."""
        self.flush()
        with self._lock:
            thread, self._thread = self._thread, None
            queue, self._work = self._work, SimpleQueue()
        if thread is not None:
            queue.put(_Look(()))  # makes it see that it has been replaced
        self._inner.close()

    def _do(self, work: _Work) -> None:
        with self._lock:
            self._work.put(work)
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, args=(self._work,), name="lee-llm-router-cache", daemon=True
                )
                with suppress(RuntimeError):  # no thread can start: the next call tries again
                    thread.start()
                    self._thread = thread

    def _run(self, queue: SimpleQueue[_Work]) -> None:
        while self._work is queue:
            work = [queue.get()]
            with suppress(Empty):
                while len(work) < _MOST_AT_ONCE:
                    work.append(queue.get_nowait())
            self._look_up([one for one in work if isinstance(one, _Look)])
            self._keep_pending()
            for one in work:
                if isinstance(one, threading.Event):
                    one.set()

    def _look_up(self, looks: Sequence[_Look]) -> None:
        keys = [key for look in looks for key in look.keys]
        values: list[bytes | None] = [None] * len(keys)
        with suppress(Exception):  # a store should raise nothing; if it does, waiters must not suffer
            if keys:
                values = self.find(keys)
        place = 0
        for look in looks:
            look.found.set_result(values[place : place + len(look.keys)])
            place += len(look.keys)

    def _keep_pending(self) -> None:
        with self._lock:
            values = list(self._pending.values())
        if not values:
            return
        with suppress(Exception):  # as above
            self._inner.keep(values)
        with self._lock:
            for one in values:
                if self._pending.get(one.key) is one:
                    del self._pending[one.key]

    def _forget(self) -> None:
        """In a forked child, begin anew: the thread and its work belong to the parent."""
        self._pending, self._work, self._thread = {}, SimpleQueue(), None


_stores: weakref.WeakSet[BackgroundStore] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for store in list(_stores):
        store.flush()
