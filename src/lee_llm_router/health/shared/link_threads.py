"""The two threads of a `StateLink`: one makes its steps, the other listens for changes.

Both are daemons and refer to the link weakly, so they end when a router that nobody closed is dropped. Neither survives
a fork; the child's link starts its own.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from math import isinf

from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router.health.shared.link import StateLink

_LONGEST_WAIT = 5.0
"""Seconds after which a thread checks whether its link still exists."""
_LISTEN_SECONDS = 1.0
_PAUSE = 0.5
"""Seconds between two attempts to listen to a state that is gone."""


def start_threads(link: StateLink) -> Callable[[], object]:
    """Start the threads of `link`; return a function that makes the first of them take a step now."""
    due = threading.Event()
    due.set()
    link_ref = weakref.ref(link, lambda _: due.set())
    for work in (_make_steps, _listen):
        name = f"lee-llm-router-state{work.__name__}"
        threading.Thread(target=work, args=(link_ref, due), name=name, daemon=True).start()
    return due.set


def _make_steps(link_ref: weakref.ref[StateLink], due: threading.Event) -> None:
    while (link := link_ref()) is not None and not link.is_closed:
        due.clear()
        if link.wants_step:
            link.step()
        seconds = 0.0 if link.wants_step else link.due_at - SYSTEM_CLOCK.monotonic()
        del link
        if seconds > 0:
            due.wait(_LONGEST_WAIT if isinf(seconds) else min(seconds, _LONGEST_WAIT))


def _listen(link_ref: weakref.ref[StateLink], due: threading.Event) -> None:  # noqa: ARG001 - as `_make_steps`
    while (link := link_ref()) is not None and not link.is_closed:
        state = link.state
        del link
        try:
            heard = state.wait_for_changes(_LISTEN_SECONDS)
        except Exception:  # noqa: BLE001 - the other thread finds out that the state is gone, and reports it
            SYSTEM_CLOCK.sleep(_PAUSE)
            heard = None
        link = link_ref()
        if link is not None and (heard is None or heard):
            link.hear(heard)
