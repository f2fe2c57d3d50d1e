"""The data of a live page: the calls at its start, and those that are new or have changed since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from threading import Lock
from typing import Any

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.report.call_rows import rows_of
from lee_llm_router.telemetry.report.page import page_text, update_text
from lee_llm_router.telemetry.scanning import TraceScanner

_MOST_CHANGES = 2000
_MOST_CHARACTERS = 20_000_000
"""How many changes are kept, and how long they may be. A page that has missed more begins anew."""
_MOST_UNFINISHED = 1000
"""Calls in progress whose records are kept; those of others are looked up."""


class CallFeed:
    """Follows a store. Any thread may use it; one at a time reads the store.

    Args:
        store: The store to follow.
        wanted: Which calls to show.
        most: Most calls on a page.
        about: What else the page shows.
        clock: Tells when a page was made.
    """

    def __init__(
        self, store: TraceScanner, wanted: CallFilter, most: int, about: dict[str, Any], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._store, self._wanted, self._most, self._about, self._clock = store, wanted, most, about, clock
        self._lock = Lock()
        self._place: Any = store.poll()[1]
        self._unfinished: OrderedDict[str, list[TraceRecord]] = OrderedDict()
        self._changes: OrderedDict[str, tuple[int, str]] = OrderedDict()
        """By id of the call: the number of its last change, and the form of the call for a live page."""
        self._size = 0
        self._number = 0
        self._forgotten = 0
        """The number of the last change that is no longer kept."""

    def page(self) -> bytes:
        """Return the page with the newest calls in their current state."""
        with self._lock:
            # Read it first: what is written meanwhile comes again as a change, which does no harm.
            number = self._number
            found = list(islice(self._calls(), self._most + 1))
            about = {
                **self._about, "made": round(self._clock.time() * 1000), "most": self._most, "position": number,
                "is_cut": len(found) > self._most,
            }  # fmt: skip
            return page_text(rows_of(found[: self._most]), about, is_live=True)

    def refresh(self) -> None:
        """Take in what has been written since the last time."""
        with self._lock:
            records, self._place = self._store.poll(self._place)
            new: OrderedDict[str, list[TraceRecord]] = OrderedDict()
            for record in records:
                new.setdefault(record.request_id, []).append(record)
            for request_id, added in new.items():
                self._take(request_id, added)

    def changes(self, since: int) -> bytes:
        """Return the changes after the change number `since`, as JSON: ``position``, ``parts``; or ``restart``."""
        with self._lock:
            if not self._forgotten <= since <= self._number:
                return b'{"restart":true}'
            parts = []
            for number, text in reversed(self._changes.values()):
                if number <= since:
                    break
                parts.append(text)
            return f'{{"position":{self._number},"parts":[{",".join(reversed(parts))}]}}'.encode()

    def _calls(self) -> Iterator[TracedCall]:
        found = self._store.calls(self._wanted.since, self._wanted.until)
        return (call for call in found if self._wanted.matches(call))

    def _take(self, request_id: str, added: list[TraceRecord]) -> None:
        known = self._unfinished.pop(request_id, None)
        if known is None and added[0].attempt:
            records = self._store.find(request_id) or added
        else:
            records = [*(known or ()), *added]
        call = TracedCall(tuple(records))
        if call.outcome == "unfinished":
            self._unfinished[request_id] = records
            if len(self._unfinished) > _MOST_UNFINISHED:
                self._unfinished.popitem(last=False)
        if self._wanted.matches(call):
            self._keep(request_id, update_text(rows_of([call])))

    def _keep(self, request_id: str, text: str) -> None:
        _, old = self._changes.pop(request_id, (0, ""))
        self._number += 1
        self._changes[request_id] = (self._number, text)
        self._size += len(text) - len(old)
        while len(self._changes) > _MOST_CHANGES or (self._size > _MOST_CHARACTERS and len(self._changes) > 1):
            _, (self._forgotten, dropped) = self._changes.popitem(last=False)
            self._size -= len(dropped)
