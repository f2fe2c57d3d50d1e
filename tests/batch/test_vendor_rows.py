"""Rows on their way to a vendor in odd cases: too long for a batch, kept of another run, refused when sent again."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.batch_support import texts
from helpers.support import FakeClock
from helpers.vendor_batches import KEY, VendorServer
from helpers.vendor_doors import door_to, job_in
from helpers.vendor_runs import run
from lee_llm_router import LeeLLMRouter, RouterClosedError
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.vendor import engine, ledger
from lee_llm_router.batch.vendor.engine import _key_in
from lee_llm_router.batch.vendor.ledger import SentBatch, VendorLedger
from lee_llm_router.batch.vendor.planning import drafted
from lee_llm_router.batch.vendor.sending import Sending
from lee_llm_router.errors import AuthenticationError, InvalidRequestError, LLMRouterError
from lee_llm_router.providers.wrapper import WrapperProvider


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)


def test_a_row_that_is_too_long_for_any_batch_is_asked_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go in batches, however many there are."""
    monkeypatch.setattr(engine, "_ROWS_AT_ONCE", 5)
    rows = [{"id": f"r{number}", "prompt": f"row {number}"} for number in range(12)]
    rows.append({"id": "long", "prompt": "long " + "x" * 30_000})
    with VendorServer("openai") as server:
        report = run(server, tmp_path / "out.jsonl", rows, engine_options={"max_mb": 0.02, "ahead": 5})
        assert sum(server.live.values()) == 1 and len(server.batches) >= 2
    assert report.answered == 13
    assert texts(tmp_path / "out.jsonl")["long"].startswith("LIVE long")


def test_a_provider_that_the_application_has_wrapped_has_its_batch_api(tmp_path: Path) -> None:
    with VendorServer("anthropic") as server:
        config = {"llm": server.config()}
        with LeeLLMRouter(config, trace_store=False, clock=FakeClock(), wrap_provider=WrapperProvider) as router:
            router.batch(["one"], out=tmp_path / "out.jsonl", engine="vendor")
        assert len(server.batches) == 1 and not server.live


@pytest.mark.parametrize("custom_id", [None, "", "llr-2-00ff", "llr-1-odd", "llr-1", "llr-1-0"])
def test_a_result_that_is_not_of_a_row_of_the_batch_is_nobodys(custom_id: str | None) -> None:
    assert _key_in(custom_id, "llr-1") is None
    assert _key_in("llr-1-00ff", "llr-1") == b"\x00\xff"


def test_of_a_closed_router_nothing_is_sent() -> None:
    router = LeeLLMRouter({"llm": {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p"}}}})
    router.close()
    with pytest.raises(RouterClosedError):
        drafted(router, "r", "hi", {})


# --- the ledger ---


def batch(**more: Any) -> SentBatch:
    found: dict[str, Any] = {
        "token": "llr-1", "provider": "p", "model": "m", "key_variable": None, "path": "/x", "rows": 1, "created": 0.0,
    }  # fmt: skip
    return SentBatch(**found | more)


def test_what_becomes_of_many_rows_is_written_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only at the end: a killed process would ask all of them again."""
    monkeypatch.setattr(ledger, "_WRITTEN_AT_ONCE", 2)
    kept = VendorLedger(tmp_path / "l")
    kept.intend(batch(), [(b"a", b"1")])
    kept.ask_live(b"a", b"1")
    kept.ask_live(b"b", b"2")
    other = sqlite3.connect(tmp_path / "l")
    tables = [name for (name,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert sum(other.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables) >= 2
    other.close()
    assert kept.mark(b"b") is not None and kept.mark(b"b").is_live  # type: ignore[union-attr]
    kept.close(is_done=False)


def test_a_ledger_that_cannot_be_written_stops_the_batch(tmp_path: Path) -> None:
    kept = VendorLedger(tmp_path / "l")
    kept.intend(batch(), [(b"a", b"1")])
    other = sqlite3.connect(tmp_path / "l", isolation_level=None)
    other.execute("DROP TABLE batches")
    other.close()
    with pytest.raises(BatchStoppedError, match="l cannot be used: "):
        kept.intend(batch(token="llr-2"), [(b"b", b"1")])
    kept.close(is_done=False)


# --- sending ---


class Api:
    """A vendor that has no batch of ours, and refuses a new one."""

    needs_file = True

    def __init__(self, refusal: LLMRouterError, file_id: str | None = "f") -> None:
        self.refusal, self.file_id = refusal, file_id

    async def find(self, *_: object) -> None:
        return None

    async def find_upload(self, *_: object) -> str | None:
        return self.file_id

    async def upload(self, *_: object) -> str:
        raise self.refusal

    async def create(self, *_: object) -> str:
        raise self.refusal


class Ledger:
    def __init__(self) -> None:
        self.dropped: list[str] = []

    def drop(self, one: SentBatch) -> None:
        self.dropped.append(one.token)

    def tell(self, one: SentBatch) -> None:
        pass


def again(folder: Path, api: Api) -> tuple[bool, list[str]]:
    kept, job = Ledger(), job_in(folder)
    lane: Any = SimpleNamespace(api=api, door=door_to(folder, job=job), target=SimpleNamespace(provider="p"))
    taken: Any = kept
    return asyncio.run(Sending(job, taken).again(lane, batch())), kept.dropped


def test_a_batch_that_is_refused_when_it_is_sent_again_is_forgotten(tmp_path: Path) -> None:
    """Its rows are sent in another one."""
    refusal = InvalidRequestError("refused", status_code=400, sent=True)
    assert again(tmp_path, Api(refusal)) == (False, ["llr-1"])
    assert again(tmp_path, Api(refusal, file_id=None)) == (False, ["llr-1"])


def test_a_vendor_that_refuses_the_key_ends_the_batch_and_keeps_its_file(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError):
        again(tmp_path, Api(AuthenticationError("no such key", status_code=401, sent=True)))


# --- figures ---


def test_the_time_that_is_left_is_told_where_it_can_be(tmp_path: Path) -> None:
    """By the share of the input that was read, where nobody knows how many rows there are."""

    def left(**known: Any) -> float | None:
        return BatchReport(out=tmp_path, errors=tmp_path, elapsed_seconds=10.0, **known).seconds_left

    assert left(rows=50, share_read=0.5, answered=10) == 90.0
    assert left(total_rows=30, answered=10) == 20.0
    assert left(rows=50, share_read=0.5) is None and left(answered=10) is None
