"""Stores of kept answers and flights of equal calls, where something is full, broken, gone or forked."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest

from helpers.forked import become_child
from lee_llm_router import ConfigError
from lee_llm_router.config import load_config
from lee_llm_router.providers.cache import background
from lee_llm_router.providers.cache.background import BackgroundStore
from lee_llm_router.providers.cache.contract import AnswerStore, Found, KeptValue
from lee_llm_router.providers.cache.flights import FlightTable
from lee_llm_router.providers.cache.forms import COMPLETION_FORM
from lee_llm_router.providers.cache.keys import RequestPrefix
from lee_llm_router.providers.cache.memory import MemoryStore
from lee_llm_router.providers.cache.opening import place_of
from lee_llm_router.providers.cache.redis import RedisStore
from lee_llm_router.providers.cache.settings import CacheConfig
from lee_llm_router.providers.cache.sqlite import SqliteStore
from lee_llm_router.providers.mock import MockConfig
from lee_llm_router.testing import FakeClock

A, B = b"a" * 20, b"b" * 20


def _kept(key: bytes, value: bytes = b"value") -> KeptValue:
    return KeptValue(key, value, 60.0)


# In the memory of the process


def test_a_value_without_room_is_not_kept_and_takes_the_place_of_none() -> None:
    store = MemoryStore(1000, FakeClock())
    store.keep([_kept(A), _kept(B, b"x" * 2000)])
    assert store.find([A, B]) == [b"value", None]


# In a thread of its own


class Slow(AnswerStore):
    """A store that keeps when it is let."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.may, self.is_at_it = threading.Event(), threading.Event()

    def find(self, keys: Sequence[bytes]) -> Found:
        return [self.values.get(key) for key in keys]

    def keep(self, values: Sequence[KeptValue]) -> None:
        self.is_at_it.set()
        assert self.may.wait(20)
        self.values.update((one.key, one.value) for one in values)

    def clear(self) -> int:
        number = len(self.values)
        self.values.clear()
        return number


@pytest.fixture
def slow() -> Iterator[tuple[Slow, BackgroundStore]]:
    inner = Slow()
    store = BackgroundStore(inner, finds=False)
    yield inner, store
    inner.may.set()
    store.close()


def test_a_store_that_cannot_follow_is_given_no_more_than_it_may_have(
    slow: tuple[Slow, BackgroundStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_MOST_PENDING", 1)
    monkeypatch.setattr(background, "_MOST_AT_ONCE", 1)
    inner, store = slow
    store.keep([_kept(A)])
    assert inner.is_at_it.wait(20)
    store.keep([_kept(B)])
    assert store.find([A, B]) == [b"value", None]


def test_what_is_kept_anew_meanwhile_is_kept_last(slow: tuple[Slow, BackgroundStore]) -> None:
    inner, store = slow
    store.keep([_kept(A, b"old")])
    assert inner.is_at_it.wait(20)
    store.keep([_kept(A, b"new")])
    inner.may.set()
    store.flush()
    assert inner.values == {A: b"new"} and store.find([A]) == [b"new"]
    assert store.clear() == 1 and store.find([A]) == [None]


def test_a_program_that_ends_keeps_what_is_still_to_be_kept(slow: tuple[Slow, BackgroundStore]) -> None:
    inner, store = slow
    inner.may.set()
    store.keep([_kept(A)])
    background._flush_all()
    assert inner.values == {A: b"value"}


def test_a_forked_child_begins_its_own_thread_and_leaves_the_parents_work_to_it(
    slow: tuple[Slow, BackgroundStore],
) -> None:
    inner, store = slow
    store.keep([_kept(A)])
    assert inner.is_at_it.wait(20)
    become_child(store)
    inner.may.set()
    store.keep([_kept(B)])
    store.flush()
    assert store.find([B]) == [b"value"] and not store._pending


# In a file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


class _Failing:
    """A connection on which statements of one kind fail."""

    def __init__(self, db: sqlite3.Connection, statement: str, error: sqlite3.Error) -> None:
        self._db = db
        self._statement = statement
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def executemany(self, statement: str, rows: Any) -> Any:
        if statement.startswith(self._statement):
            raise self._error
        return self._db.executemany(statement, rows)


def test_a_full_disk_is_warned_of_once_and_leaves_what_was_kept(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(str(file), 1_000_000, FakeClock())
    store.keep([_kept(A)])
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    plain = store._writer.db
    assert plain is not None
    store._writer.db = _Failing(plain, "INSERT", full)  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            store.keep([_kept(B)])
    assert [record.getMessage().count("has no space on its disk") for record in caplog.records] == [1]
    store._writer.db = plain
    assert store.find([A, B]) == [b"value", None]
    store.keep([_kept(B)])
    assert store.find([B]) == [b"value"], "the transaction that failed is over"
    store.close()


def test_a_file_without_room_for_anything_keeps_nothing_and_ends(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(str(file), 1_000_000, FakeClock())
    monkeypatch.setattr(store, "_max_pages", 0)
    store.keep([_kept(A)])
    assert store.find([A]) == [None]
    store.close()


def test_a_store_that_two_threads_find_broken_is_told_of_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(str(file), 1_000_000, FakeClock())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            store._turn_off(OSError(5, "Input/output error"))
    assert [record.getMessage().count("is off: Input/output error") for record in caplog.records] == [1]
    assert store.find([A]) == [None]


# In Redis


class FakeRedis:
    """A server as its client sees it."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.error: Exception | None = None

    def ping(self) -> None:
        if self.error is not None:
            raise self.error

    def mget(self, names: Sequence[bytes]) -> list[bytes | None]:
        self.ping()
        return [self.values.get(name) for name in names]

    def pipeline(self, transaction: bool) -> FakeRedis:
        return self

    def set(self, name: bytes, value: bytes, px: int) -> None:
        self.values[name] = value

    def execute(self) -> None:
        self.ping()

    def scan_iter(self, match: bytes, count: int) -> Iterator[bytes]:
        return iter([name for name in self.values if name.startswith(match.removesuffix(b"*"))])

    def unlink(self, *names: bytes) -> None:
        assert 0 < len(names) <= 500
        for name in names:
            del self.values[name]

    def close(self) -> None:
        pass

    disconnect = close


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    fake = FakeRedis()
    monkeypatch.setattr("lee_llm_router.providers.cache.redis.redis_client", lambda *_: fake)
    monkeypatch.setattr("lee_llm_router.providers.cache.redis._FIRST_SECONDS", 20.0)
    return fake


def test_to_forget_all_answers_leaves_what_is_of_others(server: FakeRedis) -> None:
    store = RedisStore(None, "mine", FakeClock())
    server.values = {b"other:cache:1": b"x"} | {b"mine:cache:%d" % number: b"x" for number in range(1100)}
    assert store.clear() == 1100
    assert list(server.values) == [b"other:cache:1"]
    store.close()


def test_a_value_that_is_too_long_for_a_server_is_not_sent(server: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.providers.cache.redis._LONGEST_VALUE", 10)
    store = RedisStore(None, "mine", FakeClock())
    store.keep([_kept(A), _kept(B, b"x" * 11)])
    assert store.find([A, B]) == [b"value", None]


def test_an_outage_is_told_once_and_seen_once_by_threads_that_meet_it_together(
    server: FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    store = RedisStore(None, "mine", clock)
    store.keep([_kept(A)])
    client = store._client
    server.error = ConnectionError("gone")
    with caplog.at_level(logging.INFO):
        assert store.find([A]) == [None]
        store._gone(client, ConnectionError("seen by another thread"))
        clock.advance(3600)
        store._look()
        assert store.find([A]) == [None]
        server.error = None
        clock.advance(3600)
        store._look()
    assert store.find([A]) == [b"value"]
    said = " | ".join(record.getMessage() for record in caplog.records)
    assert said.count("cannot be used") == 1 and said.count("is back") == 1


def test_a_forked_child_connects_anew(server: FakeRedis) -> None:
    store = RedisStore(None, "mine", FakeClock())
    store.keep([_kept(A)])
    assert store._client is not None
    become_child(store)
    assert store._client is None
    store._look()
    assert store.find([A]) == [b"value"]


# What a section names


def test_a_cache_in_a_home_that_is_not_there_is_a_finding() -> None:
    with pytest.raises(ConfigError, match=r"cache\.path"):
        place_of(CacheConfig.model_validate({"type": "sqlite", "path": "~nobody-of-this-name/answers"}))


def test_a_cache_in_redis_names_the_package_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.providers.cache.settings.find_spec", lambda _: None)
    section = {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p"}}, "cache": {"type": "redis"}}
    with pytest.raises(ConfigError, match=r"lee-llm-router\[redis\]"):
        load_config({"llm": section})


# Keys


def _key(**options: Any) -> bytes:
    return RequestPrefix(COMPLETION_FORM, MockConfig(type="mock"), "m", options).key(
        [{"role": "user", "content": "hi"}]
    )


def test_requests_are_equal_if_what_they_ask_is_whatever_it_is_written_in() -> None:
    """Sets have no order, and a path is its text."""
    odd = _key(tools={"a", "b"}, path=PurePosixPath("x"), body=MappingProxyType({"c": 1}))
    assert odd == _key(tools=["a", "b"], path="x", body={"c": 1}) != _key(tools=["a"], path="x", body={"c": 1})


@pytest.mark.parametrize("odd", [object(), {1, "a"}, float, b"bytes"])
def test_what_nobody_can_compare_has_no_key(odd: Any) -> None:
    with pytest.raises(ValueError, match="cannot be distinguished from others"):
        _key(extra_body={"a": odd})


# Flights


def test_only_so_many_flights_are_remembered_after_they_have_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lee_llm_router.providers.cache.flights._MOST_LANDED", 2)
    flights = FlightTable()
    for number in range(3):
        flights.join(b"%d" % number).land(b"k", b"v")
    assert [flights.join(b"%d" % number).landed_lately for number in range(3)] == [False, True, True]


def test_a_forked_child_waits_for_no_flight_of_its_parents() -> None:
    flights = FlightTable()
    assert flights.join(A).leads and flights.join(A).follows
    become_child(flights)
    assert flights.join(A).leads
