"""Reads through the history of a trace folder: every record, call by call, by the beginning of an id, what is new."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lee_llm_router.telemetry.calls import TracedCall, calls_from
from lee_llm_router.telemetry.record_json import json_object
from lee_llm_router.telemetry.records import TraceRecord
from lee_llm_router.telemetry.scanning import is_within
from lee_llm_router.telemetry.stores.day_files import DayFile, day_files, open_to_read


def scan_files(folder: Path, since: float | None, until: float | None) -> Iterator[Mapping[str, Any]]:
    """Yield the records in `folder` as mappings; see `TraceScanner.scan`."""
    for file in day_files(folder):
        for line in _lines(folder, file):
            with suppress(ValueError):
                record = json_object(line)
                if is_within(str(record.get("started_at")), since, until):
                    yield record


def calls_backwards(folder: Path, since: float | None, until: float | None) -> Iterator[TracedCall]:
    """Yield the calls in `folder`, newest first; see `TraceScanner.calls`."""
    records = [record for file in day_files(folder) for record in _records(_lines(folder, file))]
    for call in sorted(calls_from(records), key=lambda call: call.last.started_at, reverse=True):
        if is_within(call.records[0].started_at, since, until):
            yield call


def ids_beginning_with(folder: Path, prefix: str, limit: int) -> list[str]:
    """Return ids of calls; see `TraceScanner.ids`."""
    found: dict[str, None] = {}
    for record in scan_files(folder, None, None):
        name = record.get("request_id")
        if isinstance(name, str) and name.startswith(prefix):
            found[name] = None
    return list(found)[:limit]


def records_after(folder: Path, position: Mapping[str, int] | None) -> tuple[list[TraceRecord], dict[str, int]]:
    """Return the records behind `position` and the next position; see `TraceScanner.poll`."""
    found: list[TraceRecord] = []
    following: dict[str, int] = {}
    for file in day_files(folder):
        start = file.size if position is None else position.get(file.name, 0)
        data = b"" if start >= file.size else _bytes(folder, file, start)
        whole = data[: data.rfind(b"\n") + 1]
        found += _records(whole.split(b"\n"))
        following[file.name] = start + len(whole)
    return found, following


def _records(lines: Iterator[bytes] | Sequence[bytes]) -> Iterator[TraceRecord]:
    for line in lines:
        with suppress(ValueError):
            yield TraceRecord.from_json(line)


def _lines(folder: Path, file: DayFile) -> Iterator[bytes]:
    with suppress(OSError), os.fdopen(open_to_read(folder / file.name), "rb") as stream:
        yield from stream


def _bytes(folder: Path, file: DayFile, start: int) -> bytes:
    with suppress(OSError), os.fdopen(open_to_read(folder / file.name), "rb") as stream:
        stream.seek(start)
        return stream.read()
    return b""
