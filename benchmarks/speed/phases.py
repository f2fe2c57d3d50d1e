"""What is measured together, and how long."""

from __future__ import annotations

from speed.catalog import ALONE, ASKED, CALLS, CONFIGURED, DIALECTS, POLICIES
from speed.rounds import Phase
from speed.samples import Key

REFERENCE: Key = ("httpx", "async-1")
"""What "one httpx call" means."""
CHAT: Key = ("ours-fast", "async-1")
CHAT_CHUNK: Key = ("ours-fast", "chunk")
FEW: Key = ("configured-2", "async-1")


def _keys(case: str) -> list[Key]:
    return [(subject.name, case) for subject in CALLS if case in subject.cases]


PHASES = {
    "async-1": Phase(
        "one call at a time",
        [*_keys("async-1"), *((subject.name, "async-1") for subject in ALONE)],
        neighbour=REFERENCE,
    ),
    "async-64": Phase("64 calls at once", _keys("async-64"), neighbour=REFERENCE),
    "async-1000": Phase("1,000 calls at once", _keys("async-1000"), seconds=1.0, rounds=7, neighbour=REFERENCE),
    "sync": Phase(
        "sync", [*_keys("sync"), *((subject.name, "sync") for subject in ALONE)], neighbour=("httpx", "sync")
    ),
    "chunk": Phase("streamed chunks", _keys("chunk"), neighbour=("httpx", "chunk")),
    "policies": Phase("policies", [(s.name, "async-1") for s in (ALONE[0], *POLICIES)], 0.1, 20),
    "dialects": Phase("dialects", [(s.name, "async-1") for s in DIALECTS], neighbour=CHAT),
    "dialect-chunks": Phase("chunks of dialects", [(s.name, "chunk") for s in DIALECTS], neighbour=CHAT_CHUNK),
    "configured": Phase("providers and roles", [(s.name, "async-1") for s in (*CONFIGURED, *ASKED)], 0.2, 30, FEW),
}
