"""A cache in a SQLite file: shared by processes, bounded, private, and never in the way when it is broken."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.cache_support import cached_router, flushed
from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router.providers.cache.contract import KeptValue
from lee_llm_router.providers.cache.sqlite import SqliteStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "answers.sqlite"


def _section(file: Path, **more: Any) -> dict[str, Any]:
    return {"type": "sqlite", "path": str(file), **more}


def test_another_router_finds_what_was_kept(file: Path) -> None:
    with cached_router(_section(file)) as (router, _):
        first = router.complete("r", "hi")
    with cached_router(_section(file)) as (router, asked):
        again = router.complete("r", "hi")
        assert again.cached
        assert (again.text, again.usage, again.raw, again.model) == (first.text, first.usage, first.raw, first.model)
        assert asked.count == 0


def test_the_file_is_private_and_hidden_from_git(file: Path) -> None:
    with cached_router(_section(file)) as (router, _):
        router.complete("r", "hi")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (file.parent / ".gitignore").read_text() == "*\n"


def test_no_prompt_stands_in_the_file(file: Path) -> None:
    with cached_router(_section(file), text="answer") as (router, _):
        router.complete("r", "a secret question")
    assert b"secret question" not in file.read_bytes()


def test_a_child_of_a_fork_uses_it_too(file: Path) -> None:
    with cached_router(_section(file), clock=SYSTEM_CLOCK) as (router, _):
        flushed(router).complete("r", "hi")
        flushed(router)
        child = os.fork()
        if not child:
            is_good = router.complete("r", "hi").cached and not router.complete("r", "ho").cached
            router.close()
            os._exit(0 if is_good else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert router.complete("r", "ho").cached


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough " * 40, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_file_turns_it_off_with_one_warning(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with cached_router(_section(file)) as (router, asked), caplog.at_level(logging.WARNING, "lee_llm_router"):
        for _ in range(3):
            assert not flushed(router).complete("r", "hi").cached
            flushed(router)
        assert asked.count == 3
    assert len([record for record in caplog.records if "cache" in record.message]) == 1
    assert file.read_bytes() == content


def test_a_file_of_another_program_is_left_alone(file: Path) -> None:
    file.parent.mkdir()
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    before = file.read_bytes()
    with cached_router(_section(file)) as (router, _):
        router.complete("r", "hi")
        assert not flushed(router).complete("r", "hi").cached
    assert file.read_bytes() == before


def test_damage_within_the_file_is_survived(file: Path) -> None:
    with cached_router(_section(file), text="x" * 20_000) as (router, _):
        for word in "abcdefgh":
            router.complete("r", word)
    content = bytearray(file.read_bytes())
    for place in range(4096, len(content), 512):
        content[place : place + 100] = os.urandom(100)
    file.write_bytes(content)
    with cached_router(_section(file), text="y") as (router, _):
        for word in "abcdefgh":
            assert router.complete("r", word).text[0] in "xy"


def test_a_folder_that_cannot_be_made_turns_it_off(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file in the way")
    with cached_router(_section(tmp_path / "kept" / "answers.sqlite")) as (router, _):
        assert router.complete("r", "hi").text == "1: hi"
        assert not flushed(router).complete("r", "hi").cached


def test_the_file_stays_within_its_bound_and_the_newest_stays(file: Path) -> None:
    store = SqliteStore(str(file), 1_000_000, SYSTEM_CLOCK)
    for number in range(400):
        store.keep([KeptValue(b"%d" % number, os.urandom(10_000), 60)])
    assert store.find([b"399", b"0"])[0] is not None
    assert store.find([b"0"]) == [None]
    store.close()
    assert file.stat().st_size <= 1_100_000


def test_a_locked_file_holds_nobody_up(file: Path) -> None:
    with cached_router(_section(file), clock=SYSTEM_CLOCK) as (router, asked):
        router.complete("r", "hi")
        flushed(router)
        holder = sqlite3.connect(file, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert router.complete("r", "hi").cached
        router.complete("r", "not kept")
        flushed(router)
        holder.execute("ROLLBACK")
        holder.close()
        assert not router.complete("r", "not kept").cached
        assert router.complete("r", "not kept").cached
        assert asked.count == 3


def test_many_threads_write_and_read_at_once(file: Path) -> None:
    store = SqliteStore(str(file), 10_000_000, SYSTEM_CLOCK)

    def work(number: int) -> bool:
        key = b"%d" % (number % 10)
        store.keep([KeptValue(key, key * 1000, 60)])
        return store.find([key]) == [key * 1000]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    assert store.clear() == 10
    store.close()


def test_processes_share_it_at_once(file: Path) -> None:
    code = """
import sys
from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router.providers.cache.contract import KeptValue
from lee_llm_router.providers.cache.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], 10_000_000, SYSTEM_CLOCK)
for number in range(200):
    store.keep([KeptValue(b"%d" % number, b"x" * 1000, 60)])
    store.find([b"%d" % number])
"""
    started = [subprocess.Popen([sys.executable, "-c", code, str(file)], stderr=subprocess.PIPE) for _ in range(3)]
    assert [one.communicate(timeout=60)[1] for one in started] == [b"", b"", b""]
    store = SqliteStore(str(file), 10_000_000, SYSTEM_CLOCK)
    assert store.clear() == 200
    store.close()
