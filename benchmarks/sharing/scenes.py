"""What is played on a shared state, and what is measured of it. Each scene has processes and a namespace of its own."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from time import sleep, time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from helpers.redis_server import RedisServer, SlowWay
from sharing.server import most_in_a_minute, serving
from sharing.worker import Task, Worker

LEASE = 2.0
LATEST_MS, MOST_PLAYS = 50.0, 3
_namespaces = count()


@dataclass(frozen=True)
class Measured:
    """One figure of a scene, and its bar."""

    what: str
    value: float
    unit: str
    most: float
    """The bar: no more than this."""

    @property
    def holds(self) -> bool:
        return self.value <= self.most


def config(url: str, state: Mapping[str, Any] | None, **limits: Any) -> dict[str, Any]:
    """The configuration of a router with one target at `url`."""
    shared = {} if state is None else {"state": {"namespace": f"bench{next(_namespaces)}", "lease": LEASE, **state}}
    return {
        "llm": {
            **shared,
            "default_role": "r",
            "providers": {
                "p": {"type": "http", "base_url": url, **limits},
                "warming": {"type": "http", "base_url": f"{'/'.join(url.split('/')[:3])}/warming"},
            },
            "roles": {
                "r": {"provider": "p", "model": "m", "deadline": 300, "retry": {"patience": 70}},
                "warming": {"provider": "warming", "model": "m"},
            },
        }
    }


def limits_hold(state: Mapping[str, Any], seconds: float) -> list[Measured]:
    """Four processes at 600 a minute, and four at 60 a minute against a server that enforces them."""
    with serving(60) as free, serving(60) as strict:
        many, few = config(f"{free.url}/free", state, rpm=600), config(f"{strict.url}/strict", state, rpm=60)
        workers = [Worker(Task(many, "calls", 16, seconds)) for _ in range(4)]
        workers += [Worker(Task(few, "calls", 4, seconds)) for _ in range(4)]
        for worker in workers:
            worker.begin()
        said = [worker.heard() for worker in workers]
        for worker in workers:
            worker.end()
        moments, counts = free.counts()["moments"], strict.counts()
    first = sum(moment < min(moments) + 60 for moment in moments)
    failed = Counter[str]()
    for one in said:
        failed.update(one["errors"])
    return [
        Measured("600 rpm: most in any 60 s, over the limit", most_in_a_minute(moments) / 6 - 100, "%", 2),
        Measured("600 rpm: unused in the first 60 s", 100 - first / 6, "%", 2),
        Measured("60 rpm: refused by the server", 100 * counts.get("refused", 0) / counts["strict"], "%", 2),
        Measured(f"calls that failed {list(failed) or ''}", failed.total(), "", 0),
    ]


def breaker_is_passed_on(state: Mapping[str, Any], times: int) -> list[Measured]:
    """One process opens a breaker; the others tell when they see it."""
    latest = 0.0
    for _ in range(times):
        with serving() as server:
            settings = config(f"{server.url}/broken", state)
            settings["llm"]["roles"]["r"]["retry"] = {"attempts": 1, "patience": 0}
            watching = [Worker(Task(settings, "watch", seconds=30)) for _ in range(3)]
            for worker in watching:
                worker.begin()
                worker.heard()
            breaking = Worker(Task(settings, "break"))
            breaking.begin()
            moment = breaking.heard()["open_at"]
            for worker in watching:
                seen = worker.heard()["open_at"]
                latest = max(latest, 30.0 if seen is None else seen - moment)
            for worker in (*watching, breaking):
                worker.end()
    return [Measured("a breaker is open in all after", latest * 1000, "ms", 100)]


def permits_come_back(state: Mapping[str, Any]) -> list[Measured]:
    """A process with all eight places taken is killed; another one waits for them."""
    with serving() as server:
        settings = config(f"{server.url}/slow/30", state, max_concurrency=8)
        holding = Worker(Task(settings, "calls", 8, 60))
        holding.begin()
        sleep(1.5)
        settings["llm"]["providers"]["p"]["base_url"] = f"{server.url}/free"
        waiting = Worker(Task(settings, "calls", 8, LEASE + 4))
        waiting.begin()
        sleep(1)
        killed = time()
        holding.kill()
        said = waiting.heard()
        waiting.end()
        moments = server.counts()["moments"]
    early = sum(moment < killed for moment in moments)
    first = min(moments, default=killed + 99) - killed
    return [
        Measured("calls while another process held all places", early, "", 0),
        Measured("places of a killed process are back after", first, f"s, of {LEASE:g}", LEASE + 0.5),
        Measured("calls that failed then", sum(said["errors"].values()), "", 0),
    ]


def outages(folder: Path, at_once: int, seconds: float, only: Collection[str] = ()) -> list[Measured]:
    """Calls under load while Redis breaks in all ways, or `only` in some, beside as many of a router without state.

    A machine with other work stops either router's calls at times. So what is missed is played again, twice at most.
    """
    found = []
    with serving() as server, RedisServer(folder) as redis, SlowWay(redis.port) as way:
        for name, break_it in breaks(redis, way, seconds).items():
            if only and name not in only:
                continue
            lost, latest, plays = 0, inf, 0
            while latest > LATEST_MS and plays < MOST_PLAYS:
                state = {"type": "redis", "url": way.url if name == "slow by 500 ms" else redis.url}
                settings = config(f"{server.url}/slow/0.5", state, rpm=600_000, max_concurrency=1000)
                worker = Worker(Task(settings, "calls", at_once, seconds, beside=True))
                worker.begin()
                sleep(seconds / 2)
                break_it()
                said = worker.heard()
                worker.end()
                redis.restart()
                way.delay = 0.0
                plays += 1
                lost += sum(said["errors"].values())
                latest = min(latest, (said["longest"] - said["usual"]) * 1000)
            heard = ", ".join(f"{what} {times}" for what, times in said["doings"].items())
            found.append(Measured(f"Redis {name}: lost ({heard})", lost, "", 0))
            found.append(Measured(f"Redis {name}: held a call longer than one without, by", latest, "ms", LATEST_MS))
    return found


def breaks(redis: RedisServer, way: SlowWay, seconds: float) -> dict[str, Callable[[], object]]:
    """What is done to Redis, by name."""

    def told(*words: str) -> Callable[[], object]:
        def tell() -> None:
            with redis.client() as client:
                client.execute_command(*words)

        return tell

    def stopped() -> None:
        redis.stop()
        sleep(seconds / 4)
        redis.resume()

    def slow() -> None:
        way.delay = 0.5
        sleep(seconds / 4)
        way.delay = 0.0

    def locked() -> None:
        told("CONFIG", "SET", "requirepass", "other")()
        with redis.client(password="other") as client:
            client.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")

    return {
        "well": lambda: None,
        "killed": redis.kill,
        "stopped": stopped,
        "restarted": redis.restart,
        "slow by 500 ms": slow,
        "emptied": told("FLUSHALL"),
        "without its scripts": told("SCRIPT", "FLUSH"),
        "a replica": told("REPLICAOF", "127.0.0.1", "1"),
        "full": told("CONFIG", "SET", "maxmemory", "1"),
        "with another password": locked,
    }
