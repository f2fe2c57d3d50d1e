"""Checks of where traces go: the folder, its disk, and what a store reports about itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lee_llm_router._util.check_note import id_of_note
from lee_llm_router._util.git_files import is_tracked
from lee_llm_router._util.scrubbing import scrub
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.catalogue import Level
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.errors import ConfigError
from lee_llm_router.telemetry.settings import TraceConfig
from lee_llm_router.telemetry.stores.open import open_store

MIN_FREE_BYTES = 100_000_000
"""Bytes that should be free on the disk with the traces."""
MIN_FREE_FILES = 100
_NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "afs", "afpfs", "ceph", "glusterfs", "fuse.glusterfs", "lustre",
    "9p", "fuse.sshfs", "sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "beegfs", "gpfs", "ocfs2", "gfs2",
    "davfs", "fuse.davfs", "webdav", "orangefs", "fuse.cephfs", "virtiofs",
})  # fmt: skip
"""Types of file systems that several machines may share."""
_DEEPEST = 5
_MOUNTS = "/proc/self/mounts"


def check_traces(partial: PartialConfig, config: LLMConfig) -> Iterator[CheckResult]:
    """Yield findings about the traces."""
    trace = config.trace
    at = partial.place(("trace",)) if "trace" in config.model_fields_set else None
    if not trace.enabled:
        yield found("LLR800", "-", "switched off", at=at)
        return
    try:
        store = open_store(trace)
    except ConfigError as error:
        yield found("LLR806", trace.store.type, error.message, at=at)
        return
    parts = list(_parts(store))
    folders = dict.fromkeys(folder for part in parts if (folder := getattr(part, "trace_dir", None)) is not None)
    for folder in folders:
        yield from _check_folder(Path(folder), trace, at)
    if not folders and not any(callable(getattr(part, "check", None)) for part in parts):
        yield found("LLR800", trace.store.type, "a store that chooses its own place", at=at)
    for part in parts:
        yield from _own_words(part, trace, at)
    _close(store)


def _parts(store: Any, depth: int = 0) -> Iterator[Any]:
    """Yield `store` and those that it passes records on to."""
    yield store
    inner = getattr(store, "stores", None)
    behind = [*inner] if isinstance(inner, (list, tuple)) else []
    for one in (*behind, getattr(store, "store", None)):
        if callable(getattr(one, "write", None)) and depth < _DEEPEST:
            yield from _parts(one, depth + 1)


def _check_folder(folder: Path, trace: TraceConfig, at: Place | None) -> Iterator[CheckResult]:
    subject = scrub(str(folder), trace.filled_values())
    try:
        results = list(_of_folder(folder, subject, at))
    except OSError as error:
        yield found("LLR802", subject, f"cannot be used: {error.strerror}", at=at)
        return
    for result in results:
        if result.level == "ok" and trace.capture == "full":
            yield found(result.id, subject, f"{result.message}; prompts and answers are stored", at=at)
        else:
            yield result


def _of_folder(folder: Path, subject: str, at: Place | None) -> Iterator[CheckResult]:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        yield found("LLR801", subject, f"{existing} is not a folder", at=at)
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield found("LLR802", subject, f"{existing} is not writable", at=at)
        return
    mode = stat.S_IMODE(folder.stat().st_mode) if existing == folder else 0o700
    if mode & 0o077:
        yield found("LLR803", subject, f"other users may look into it (mode {mode:04o}): chmod 700", at=at)
    else:
        is_there = existing == folder
        text = "writable, and private to you" if is_there else "will be created when the first trace is written"
        yield found("LLR800", subject, text, at=at)
    if is_tracked(folder):
        yield found("LLR809", subject, "git tracks files in it", at=at)
    yield from _of_disk(existing, subject, at)


def _of_disk(existing: Path, subject: str, at: Place | None) -> Iterator[CheckResult]:
    disk = os.statvfs(existing)
    free, files = disk.f_bavail * disk.f_frsize, disk.f_favail
    if free < MIN_FREE_BYTES:
        yield found("LLR804", subject, f"{free / 1e6:.0f} MB are left on its disk", at=at)
    elif disk.f_files and files < MIN_FREE_FILES:
        yield found("LLR804", subject, f"{files} more files fit on its disk", at=at)
    kind = file_system_of(existing)
    if kind in _NETWORK:
        yield found("LLR805", subject, f"it is on a network file system ({kind})", at=at)


def file_system_of(path: Path) -> str | None:
    """Return the type of the file system of `path`; None if the system has no table of mounts."""
    try:
        lines = Path(_MOUNTS).read_text(errors="replace").splitlines()
    except OSError:
        return None
    real, best, kind = os.path.realpath(path), "", None
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        # Octal numbers encode spaces and the like: \040.
        point = fields[1].encode().decode("unicode_escape", "replace")
        if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
            best, kind = point, fields[2]
    return kind


def _own_words(store: Any, trace: TraceConfig, at: Place | None) -> Iterator[CheckResult]:
    """Yield what a store reports through an optional method `check`, in the form of `Provider.check`."""
    check = getattr(store, "check", None)
    if not callable(check):
        return
    name, secrets = trace.store.type, trace.filled_values()
    try:
        notes = list(check())
    except Exception as error:  # noqa: BLE001 - a store of somebody else's may raise anything
        yield found("LLR807", name, scrub(f"checking it raised {type(error).__name__}: {error}", secrets), at=at)
        return
    by_level: dict[Level, str] = {"ok": "LLR800", "info": "LLR800", "warning": "LLR808", "error": "LLR807"}
    for note in notes:
        level, text = note
        yield found(id_of_note(note) or by_level.get(level, "LLR807"), name, scrub(text, secrets), at=at, level=level)


def _close(store: Any) -> None:
    close = getattr(store, "close", None)
    if callable(close):
        with suppress(Exception):  # it may be a third party's, and nothing was written with it
            close()
