"""The watch over batches at a vendor: failed, incomplete and cancelled ones, and those that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.vendor_doors import door_to, job_in
from lee_llm_router import LLMRouterError
from lee_llm_router.batch.vendor.api import BatchResult, BatchStatus
from lee_llm_router.batch.vendor.ledger import SentBatch
from lee_llm_router.batch.vendor.settings import VendorSettings
from lee_llm_router.batch.vendor.watch import OpenBatch, Watch
from lee_llm_router.errors import InvalidRequestError, ProviderError

ENDED = BatchStatus(state="ended", is_ended=True, done=3)


class Owner:
    """Who has sent the batches; `takes` says whether a result is one of the batch."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.takes = True

    async def settle(self, one: OpenBatch, result: BatchResult) -> bool:
        self.events.append(f"settle {result.custom_id}")
        return self.takes

    def fetched(self, one: OpenBatch) -> None:
        self.events.append("fetched")

    async def disown(self, one: OpenBatch) -> None:
        self.events.append("disown")

    async def send_again(self, one: OpenBatch) -> None:
        self.events.append("send again")

    def cancelled(self, one: OpenBatch) -> None:
        self.events.append("cancelled")

    def stop_cancelled(self, rows: int) -> None:
        self.events.append(f"stopped, {rows} rows")


class Api:
    """A vendor that says what it is told to: a status, results or an exception in turn, the last again and again."""

    def __init__(self, *statuses: Any, results: Any = (), cancel: Exception | None = None) -> None:
        self.statuses, self.answers, self.refusal = list(statuses), results, cancel

    async def status(self, *_: object) -> BatchStatus:
        answer = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, BatchStatus)
        return answer

    async def results(self, *_: object) -> AsyncIterator[BatchResult]:
        if isinstance(self.answers, Exception):
            raise self.answers
        for name in self.answers:
            yield BatchResult(name, 200)

    async def cancel(self, *_: object) -> None:
        if self.refusal is not None:
            raise self.refusal


def watched(
    folder: Path, api: Api, *, certain: bool = True, act: Callable[[Watch], Awaitable[None]] | None = None
) -> list[str]:
    """Watch one batch of three rows until everything was fetched; return what its owner was told."""
    owner = Owner()

    async def main() -> None:
        job = job_in(folder)
        watch = Watch(job, VendorSettings(), owner)
        sent = SentBatch(
            token="llr-1", provider="p", model="m", key_variable=None, path="/x", rows=3, created=0.0, id="b",
            is_certain=certain, was_found=True,
        )  # fmt: skip
        lane: Any = SimpleNamespace(door=door_to(folder, job=job), api=api)
        watch.add(OpenBatch(lane, sent))
        feeding: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        feeding.set_result(None)
        await (watch.run(feeding) if act is None else act(watch))

    asyncio.run(main())
    return owner.events


THREE = ["llr-1-a", "llr-1-b", "llr-1-c"]
SETTLED = [f"settle {name}" for name in THREE]
RUNNING = BatchStatus(state="running", is_ended=False)
LOST = ProviderError("gone", status_code=404, final=True)
REFUSED = InvalidRequestError("refused", status_code=400)


def test_why_a_batch_has_failed_is_told_without_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failed = BatchStatus(state="failed", is_ended=True, reason="the key sk-secret may not")
    assert watched(tmp_path, Api(failed)) == ["fetched"]
    assert "a batch at p has failed: the key *** may not" in caplog.text


def test_results_that_are_fewer_than_was_said_are_fetched_again_and_then_given_up(tmp_path: Path) -> None:
    """The rows that are missing are asked live then."""
    events = watched(tmp_path, Api(ENDED, results=THREE[:2]))
    assert events == [*SETTLED[:2] * 3, "fetched"]


def test_a_vendor_that_refuses_a_question_ends_the_watch(tmp_path: Path) -> None:
    for api in (Api(REFUSED), Api(ENDED, results=REFUSED)):
        with pytest.raises(InvalidRequestError):
            watched(tmp_path, api)
        with pytest.raises(InvalidRequestError):
            watched(tmp_path, api, certain=False)


def test_a_batch_that_was_found_in_a_list_and_is_empty_is_not_ours(tmp_path: Path) -> None:
    assert watched(tmp_path, Api(ENDED, results=[]), certain=False) == ["disown"]
    assert watched(tmp_path, Api(ENDED, results=["another-1"]), certain=False) == ["disown"]
    assert watched(tmp_path, Api(ENDED, results=THREE), certain=False) == [*SETTLED, "fetched"]


def test_cancelled_batches_are_looked_at_until_they_have_ended(tmp_path: Path) -> None:
    events = watched(tmp_path, Api(RUNNING, RUNNING, ENDED, results=THREE), act=Watch.cancel_all)
    assert events == [*SETTLED, "cancelled", "stopped, 3 rows"]


def test_a_batch_that_cannot_be_cancelled_is_fetched_all_the_same(tmp_path: Path) -> None:
    """It has ended already, or is gone. A vendor that fails is another matter."""
    events = watched(tmp_path, Api(ENDED, results=THREE, cancel=REFUSED), act=Watch.cancel_all)
    assert events == [*SETTLED, "cancelled", "stopped, 3 rows"]
    assert watched(tmp_path, Api(LOST, cancel=LOST), act=Watch.cancel_all) == ["cancelled", "stopped, 3 rows"]
    broken: LLMRouterError = ProviderError("broken", status_code=500, final=True)
    with pytest.raises(ProviderError):
        watched(tmp_path, Api(ENDED, cancel=broken), act=Watch.cancel_all)
