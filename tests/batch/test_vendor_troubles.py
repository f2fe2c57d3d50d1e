"""Vendors' batch APIs that answer oddly, fail, or have more than a page: the door to them, and each API."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.vendor_doors import Stream, door_to, job_in
from lee_llm_router import ConfigError
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.vendor import anthropic_batches, door, gemini_batches, openai_files
from lee_llm_router.batch.vendor.anthropic_batches import AnthropicBatches
from lee_llm_router.batch.vendor.api import BatchResult, BatchStatus, Submission
from lee_llm_router.batch.vendor.gemini_batches import GeminiBatches
from lee_llm_router.batch.vendor.openai_files import OpenAIFiles
from lee_llm_router.batch.vendor.settings import VendorSettings
from lee_llm_router.errors import InvalidResponseError, ProviderError, UnavailableError

BATCH = Submission(token="llr-1", path="/models/m:generateContent", rows=3, created=1_000_000.0)
ENDED = BatchStatus(state="ended", is_ended=True, done=3)


# --- the door ---


@pytest.mark.parametrize("body", [b"[1]", b"no JSON", b"[" * 200_000, b""])
def test_an_answer_that_is_no_object_is_refused(body: bytes, tmp_path: Path) -> None:
    stream = Stream(body)
    with pytest.raises(InvalidResponseError, match="not an object"):
        asyncio.run(door_to(tmp_path, stream).json("GET", "/batches"))
    assert stream.is_closed


def test_an_answer_that_has_no_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_MAX_JSON", 1000)
    stream = Stream(*[b" " * 400] * 100)
    with pytest.raises(InvalidResponseError, match="too long") as error:
        asyncio.run(door_to(tmp_path, stream).json("GET", "/batches"))
    assert error.value.final and len(stream.blocks) > 90


def test_a_file_shorter_than_it_said_breaks_off(tmp_path: Path) -> None:
    """Unless it came compressed: then its length is another."""
    size = (b"Content-Length", b"100")
    with pytest.raises(InvalidResponseError, match="breaks off"):
        asyncio.run(door_to(tmp_path, Stream(b"short", headers=(size,))).file("/files/1"))
    zipped = (b"Content-Encoding", b"gzip")
    with asyncio.run(door_to(tmp_path, Stream(b"short", headers=(size, zipped))).file("/files/1")) as stored:
        assert stored.read() == b"short"


@pytest.mark.parametrize("when", ["made", "written"])
def test_results_that_cannot_be_stored_stop_the_batch(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay at the vendor, and the next run fetches them."""
    full = OSError(errno.ENOSPC, "No space left on device")

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise full

    def made(**_: object) -> io.BytesIO:
        if when == "made":
            raise full
        return Full()

    monkeypatch.setattr(tempfile, "TemporaryFile", made)
    with pytest.raises(BatchStoppedError, match="results cannot be stored: No space left"):
        asyncio.run(door_to(tmp_path, Stream(b"x")).file("/files/1"))


def test_a_damaged_line_of_results_costs_its_row_alone(tmp_path: Path) -> None:
    """That is asked live. One without an end says that the file breaks off."""
    data = b'{"a":1}\n\n[2]\nhalf {\n{"a":3}\n'

    async def read(body: bytes) -> list[Any]:
        return [one async for one in door_to(tmp_path, Stream(body)).lines("/files/1")]

    assert asyncio.run(read(data)) == [{"a": 1}, {"a": 3}]
    with pytest.raises(InvalidResponseError, match="breaks off"):
        asyncio.run(read(data + b"half {"))


def test_a_batch_that_is_stopped_while_a_vendor_is_away_ends_with_the_failure(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    tries = []

    async def act() -> None:
        tries.append(job.clock.monotonic())
        raise UnavailableError("away")

    async def main() -> None:
        sleeping = job.clock.sleep_async

        async def sleep(seconds: float) -> None:
            await sleeping(seconds)
            job.is_over = len(tries) == 2

        job.clock.sleep_async = sleep
        await door_to(tmp_path, job=job).steadily(act)

    with pytest.raises(UnavailableError):
        asyncio.run(main())
    assert len(tries) == 2


@pytest.mark.parametrize("value", [{}, {"id": ""}, {"id": 7}])
def test_an_object_without_its_id_is_no_answer(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponseError, match="has no id"):
        door.text_in(value, "id")


def test_counts_are_taken_as_far_as_they_are_some() -> None:
    assert door.numbers_in([1]) == {}
    assert door.numbers_in({"a": 1, "b": "2", "c": -1, "d": "x", "e": None, "f": 1.5}) == {"a": 1, "b": 2}


# --- the APIs ---


class Told:
    """A door behind which the vendor answers in turn; keeps what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def json(self, method: str, path: str, *_: object, **__: object) -> Any:
        self.asked.append(f"{method} {path}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def file(self, path: str) -> Any:
        answer = await self.json("GET", path)
        return io.BytesIO(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    async def lines(self, path: str) -> AsyncIterator[Any]:
        for one in await self.json("GET", path):
            yield one


def found(api: Any, behind: Any, known: frozenset[str] = frozenset()) -> Any:
    return asyncio.run(api.find(behind, BATCH, known))


@pytest.mark.parametrize("api", [GeminiBatches(), AnthropicBatches()])
def test_where_requests_are_sent_in_one_body_there_is_no_file(api: Any) -> None:
    assert not api.needs_file
    assert asyncio.run(api.find_upload(Told(), BATCH)) is None
    with pytest.raises(NotImplementedError):
        asyncio.run(api.upload(Told(), BATCH))


def test_gemini_s_batches_are_looked_for_on_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for ever, and what is no batch is passed over."""
    ours = {"name": "batches/7", "metadata": {"displayName": "llr-1"}}
    others = {"operations": ["odd", {"name": "batches/1", "metadata": 7}], "nextPageToken": "a/b"}
    behind = Told(others, {"operations": [ours]})
    assert found(GeminiBatches(), behind) == "batches/7"
    assert behind.asked[1].endswith("&pageToken=a%2Fb")
    assert found(GeminiBatches(), Told({"operations": None})) is None
    monkeypatch.setattr(gemini_batches, "_MOST_PAGES", 3)
    behind = Told(*[others] * 9)
    assert found(GeminiBatches(), behind) is None and len(behind.asked) == 3


@pytest.mark.parametrize("body", [b"no JSON", b"[1]", b"[" * 200_000])
def test_a_batch_of_gemini_s_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponseError, match="not an object"):
        asyncio.run(GeminiBatches().status(Told(body), "batches/7"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "status"),
    [
        ({"response": {}}, 200),
        ({"error": {"code": 4}}, 504),
        ({"error": {"code": 418}}, 418),
        ({"error": {"code": 2}}, 500),
        ({"error": {"code": "odd"}}, 500),
        ({"error": {}}, 500),
        ({}, 0),
        ({"response": "odd", "metadata": "odd"}, 0),
    ],
)
def test_what_came_of_a_request_to_gemini_has_a_status_of_http(one: dict[str, Any], status: int) -> None:
    """One that was not answered is asked live."""

    async def results() -> list[BatchResult]:
        ended = BatchStatus(state="s", is_ended=True, results=[one])
        return [result async for result in GeminiBatches().results(Told(), "b", ended)]  # type: ignore[arg-type]

    assert [result.status for result in asyncio.run(results())] == [status]


def listed(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"b{number}", "created_at": "2001-09-09T01:46:40Z", "processing_status": "in_progress",
        "request_counts": {"processing": 3}, **more,
    }  # fmt: skip


def test_anthropic_s_batches_are_looked_for_as_far_back_as_ours_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the same size that has not ended may be it; an older one cannot."""
    api = AnthropicBatches()
    other = listed(1, request_counts={"processing": 9}, created_at="no time")
    page = {"data": ["odd", other, listed(2)], "has_more": True, "last_id": "b/2"}
    behind = Told(page, {"data": [listed(3)]})
    assert found(api, behind, frozenset({"b2"})) == "b3" and behind.asked[1].endswith("&after_id=b%2F2")
    old = listed(4, created_at="1970-01-01T00:00:00Z")
    assert found(api, Told({"data": [old, listed(5)], "has_more": True, "last_id": "b4"})) is None
    assert found(api, Told({"data": [listed(6, created_at=7)]})) == "b6"
    monkeypatch.setattr(anthropic_batches, "_MOST_PAGES", 2)
    behind = Told(*[{**page, "data": [other]}] * 9)
    assert found(api, behind) is None and len(behind.asked) == 2


def test_an_ended_batch_of_anthropic_s_without_results_is_nobodys() -> None:
    ended = listed(1, processing_status="ended")
    assert found(AnthropicBatches(), Told({"data": [ended]}, [])) is None
    with pytest.raises(ProviderError):
        found(AnthropicBatches(), Told({"data": [ended]}, ProviderError("away", status_code=500)))


def test_openai_s_lists_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far back as the batch was made, and not for ever."""
    api = OpenAIFiles()
    page = {"data": [{"id": "a/1", "created_at": 1_000_100, "metadata": None}], "has_more": True}
    mark = {openai_files.MARK: "llr-1"}
    behind = Told(page, {"data": [{"id": "b", "metadata": mark}]})
    assert found(api, behind) == "b" and behind.asked[1].endswith("&after=a%2F1")
    assert found(api, Told({"data": [{"id": "a", "created_at": 5}], "has_more": True})) is None
    uploads = Told({"data": [{"id": "f", "filename": "another"}], "has_more": False})
    assert asyncio.run(api.find_upload(uploads, BATCH)) is None  # type: ignore[arg-type]
    monkeypatch.setattr(openai_files, "_MOST_PAGES", 2)
    behind = Told(*[page] * 9)
    assert found(api, behind) is None and len(behind.asked) == 2


@pytest.mark.parametrize("options", [{"provider": 7}, {"cancel": "yes"}, {"ahead": 0}, {"max_mb": float("inf")}])
def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        VendorSettings.of(options)
