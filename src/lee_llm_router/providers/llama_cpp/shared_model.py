"""Models in this process: the first call loads each one once per set of settings, and all providers share it.

How this works. A provider claims its model when it is built and releases it when it is closed; the last release closes
the model. A call runs in its own thread (`ModelCall.start`), which waits until the model is loaded and one of its slots
is free, and then for llama.cpp. The caller waits for events with a time limit, and may leave at any time. The call
notices that it was stopped at its next event, which llama.cpp sends after each token and after each piece of a prompt.

- One call loads; the others wait for it. If nobody waits any longer, the load continues, and serves the next call. If
  it fails, each waiting call tries in turn, and raises its own error.
- Closing a model stops its running calls. The native server is destroyed once the last of them has left it.
- At the end of the program every call is stopped and awaited: if a native thread returned to an interpreter that is
  gone, the process would abort.
- A forked child loads the model anew. If its parent had one loaded, the child keeps what it loads until it ends: see
  `native`.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.providers.llama_cpp import native
from lee_llm_router.providers.llama_cpp.loading import load_model
from lee_llm_router.providers.llama_cpp.native import LoadSettings, NativeServer

T = TypeVar("T")

_LOOK_AGAIN = 0.2
"""Seconds between checks of a waiting call whether it was stopped. Stopping takes no lock: a garbage collection may do
it."""
_CLOSE_SECONDS = 10.0
"""Most seconds that closing a model waits for its calls. They end by themselves later."""
_EXIT_SECONDS = 60.0
"""The same at the end of the program."""


class StoppedError(Exception):
    """The call was stopped, or its model closed, before it reached llama.cpp."""


class Stop:
    """Tells one call to end. Setting it takes no lock."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False


class SharedModel:
    """One model, loaded on first use.

    Args:
        settings: What to load, and how.
    """

    def __init__(self, settings: LoadSettings) -> None:
        self.settings = settings
        self.claims = 0
        """Providers that may use it."""
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._server: NativeServer | None = None
        self.is_loading = False
        """Whether a call is loading it."""
        self._is_closed = False
        self._busy = 0
        self._stops: set[Stop] = set()

    @property
    def is_loaded(self) -> bool:
        """Whether calls can run without waiting for the load."""
        return self._server is not None

    def use(self, work: Callable[[NativeServer], T], stop: Stop) -> T:
        """Return the result of `work` with the loaded model, in a slot of its own. Waits for model and slot.

        Raises:
            StoppedError: `stop` was set, or the model was closed.
            LLMRouterError: it cannot be loaded.
        """
        self._stops.add(stop)
        try:
            server = self._enter(stop)
            try:
                return work(server)
            finally:
                del server  # after a close this is the last reference: this destroys the server
                self._leave()
        finally:
            self._stops.discard(stop)

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Stop all calls and destroy the native server, at the latest when the last call has left it."""
        deadline = monotonic() + timeout
        with self._lock:
            self._is_closed = True
            for stop in tuple(self._stops):
                stop.is_set = True
            self._changed.notify_all()
            while (self._busy or self.is_loading) and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)
            server = None if _state.is_tainted else self._server
            if server is not None:
                self._server = None

    def reopen(self) -> None:
        """Allow calls again, after a close."""
        with self._lock:
            self._is_closed = False

    def abandon(self) -> list[NativeServer]:
        """In a forked child, forget everything that belongs to the parent; return its servers."""
        server = self._server
        self._reset()
        return [] if server is None else [server]

    def _enter(self, stop: Stop) -> NativeServer:
        with self._lock:
            while True:
                if stop.is_set or self._is_closed:
                    raise StoppedError
                if self._server is not None and self._busy < self.settings.slots:
                    self._busy += 1
                    return self._server
                if self._server is None and not self.is_loading:
                    self.is_loading = True
                    break
                self._changed.wait(_LOOK_AGAIN)
        try:
            server = load_model(self.settings)
        except BaseException:
            self._loaded(None)
            raise
        self._loaded(server)
        del server
        return self._enter(stop)

    def _loaded(self, server: NativeServer | None) -> None:
        with self._lock:
            self.is_loading = False
            if server is not None and _state.is_tainted:
                native.keep(server)
            if not self._is_closed or _state.is_tainted:
                self._server = server
            self._changed.notify_all()

    def _leave(self) -> None:
        with self._lock:
            self._busy -= 1
            self._changed.notify_all()


class _State:
    """All models in this process."""

    def __init__(self) -> None:
        self.models: dict[LoadSettings, SharedModel] = {}
        self.lock = ForkLock(reentrant=True)
        self.is_tainted = False
        """Whether this process was forked from one with a loaded model: it must not destroy any native server."""

    def abandon_all(self) -> None:
        """In a forked child, leave to the parent what is the parent's."""
        servers = [server for model in self.models.values() for server in model.abandon()]
        if servers or self.is_tainted:
            self.is_tainted = True
            native.abandon_after_fork(servers)

    def close_all(self) -> None:
        """Close every model, at the end of the program."""
        for model in list(self.models.values()):
            model.close(_EXIT_SECONDS)


_state = _State()
atexit.register(_state.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.abandon_all)


def claim(settings: LoadSettings) -> SharedModel:
    """Return the model for `settings`, shared with every provider that has claimed it. Pair with `release`."""
    with _state.lock:
        model = _state.models.setdefault(settings, SharedModel(settings))
        model.claims += 1
        model.reopen()
        return model


def release(model: SharedModel) -> None:
    """Give back the result of `claim`. The last one closes the model."""
    with _state.lock:
        model.claims -= 1
        if model.claims > 0:
            return
        if _state.models.get(model.settings) is model and not _state.is_tainted:
            del _state.models[model.settings]
    model.close()
