"""What this process may use of its machine: cores and memory, limited by the system, its control group and its
ulimits."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from math import ceil
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
"""Lists the control groups of a process."""


def usable_cores() -> int:
    """Return how many cores this process may use at once: at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_core_quotas()]))


def free_memory() -> int | None:
    """Return how many more bytes this process could use without displacing anything; None if unknown."""
    known = [*_system_memory(), *_cgroup_memory()]
    return min(known) if known else None


def whole_memory() -> int | None:
    """Return how many bytes this process could use if it were alone; None if unknown."""
    limits = [_words(folder / "memory.max") for folder in _cgroup_folders()]
    known = [int(words[0]) for words in limits if words and words[0].isdecimal()]
    if "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PHYS_PAGES") * resource.getpagesize())
    return min(known) if known else None


def free_address_space() -> int | None:
    """Return how many bytes this process may still map (`ulimit -v`); None if it has no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = _words(Path("/proc/self/statm"))
    used = int(pages[0]) * resource.getpagesize() if pages else 0
    return max(0, limit - used)


def _core_quotas() -> Iterator[int]:
    for folder in _cgroup_folders():
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
            yield ceil(int(words[0]) / int(words[1]))
    quota = _words(CGROUPS / "cpu/cpu.cfs_quota_us")
    period = _words(CGROUPS / "cpu/cpu.cfs_period_us")
    if quota and period and quota[0].isdecimal() and period[0].isdecimal() and int(period[0]):
        yield ceil(int(quota[0]) / int(period[0]))


def _system_memory() -> Iterator[int]:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
            return
    if "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()


def _cgroup_memory() -> Iterator[int]:
    for folder in _cgroup_folders():
        limit, used = _words(folder / "memory.max"), _words(folder / "memory.current")
        if limit and used and limit[0].isdecimal() and used[0].isdecimal():
            cached = sum(
                int(line.split()[1])
                for line in _lines(folder / "memory.stat")
                if line.startswith(("inactive_file ", "active_file "))
            )
            yield max(0, int(limit[0]) - int(used[0]) + cached)


def _cgroup_folders() -> Iterator[Path]:
    """Yield the control groups (version 2) of this process, the innermost first."""
    for line in _lines(OWN_CGROUP):
        if line.startswith("0::"):
            folder = CGROUPS / line[3:].strip("/ \n")
            while folder != CGROUPS and CGROUPS in folder.parents:
                yield folder
                folder = folder.parent
            yield CGROUPS


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)[:1]).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
