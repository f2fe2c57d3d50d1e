"""OpenAI's Batch API: upload a file of requests, create a batch from it, fetch its output file. Groq's is the same.

Follows the API reference (files, batches) and the guide "Batch API" of OpenAI's platform.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from lee_llm_router.batch.vendor.api import GONE, MB, BatchLimits, BatchResult, BatchStatus, Submission
from lee_llm_router.batch.vendor.door import FILE_SECONDS, Door, numbers_in, text_in
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.json_body import encode_json

MARK = "lee_llm_router"
"""The field of a batch's metadata that holds our name for it."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_NO_ROOM = frozenset({"token_limit_exceeded", "rate_limit_exceeded"})
"""Codes of a batch that was not accepted: the organization already has too many tokens enqueued."""
_MOST_PAGES = 50
_SLACK = 3600.0
"""Seconds that the vendor's clock may be behind ours."""


class OpenAIFiles:
    """See `BatchApi`."""

    # developers.openai.com/api/docs/guides/batch: "up to 50,000 requests, and can be up to 200 MB in size".
    limits = BatchLimits(rows=50_000, size=200 * MB)
    needs_file = True

    def line(self, custom_id: str, path: str, body: Mapping[str, Any]) -> bytes:
        """See `BatchApi.line`."""
        request = {"custom_id": custom_id, "method": "POST", "url": f"/v1{path}", "body": body}
        return encode_json(request) + b"\n"

    async def upload(self, door: Door, batch: Submission) -> str:
        """See `BatchApi.upload`."""
        boundary = f"batch-{batch.token}"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_name(batch)}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        raw = b"".join((head.encode(), *batch.lines, f"\r\n--{boundary}--\r\n".encode()))
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        found = await door.json("POST", "/files", raw=raw, headers=headers, seconds=FILE_SECONDS)
        return text_in(found, "id")

    async def find_upload(self, door: Door, batch: Submission) -> str | None:
        """See `BatchApi.find_upload`."""
        async for file in self._listed(door, "/files?purpose=batch&limit=1000", batch.created):
            if file.get("filename") == _name(batch):
                return text_in(file, "id")
        return None

    async def create(self, door: Door, batch: Submission) -> str:
        """See `BatchApi.create`."""
        body = {
            "input_file_id": batch.file_id, "endpoint": f"/v1{batch.path}", "completion_window": "24h",
            "metadata": {MARK: batch.token},
        }  # fmt: skip
        return text_in(await door.json("POST", "/batches", body), "id")

    async def find(self, door: Door, batch: Submission, known: frozenset[str]) -> str | None:  # noqa: ARG002 - by its mark
        """See `BatchApi.find`."""
        async for found in self._listed(door, "/batches?limit=100", batch.created):
            metadata = found.get("metadata")
            if isinstance(metadata, dict) and metadata.get(MARK) == batch.token:
                return text_in(found, "id")
        return None

    async def _listed(self, door: Door, path: str, since: float) -> AsyncIterator[dict[str, Any]]:
        """Yield the entries of a list, newest first, as far back as `since`."""
        after = ""
        for _ in range(_MOST_PAGES):
            page = await door.json("GET", path + after)
            entries = [one for one in page.get("data") or () if isinstance(one, dict)]
            for one in entries:
                yield one
            last = entries[-1] if entries else {}
            made = last.get("created_at")
            if not page.get("has_more") or not last.get("id") or (isinstance(made, int) and made < since - _SLACK):
                return
            after = f"&after={quote(str(last['id']), safe='')}"

    async def status(self, door: Door, batch_id: str) -> BatchStatus:
        """See `BatchApi.status`."""
        found = await door.json("GET", f"/batches/{quote(batch_id, safe='')}")
        state, counts = text_in(found, "status"), numbers_in(found.get("request_counts"))
        errors = found.get("errors")
        problems = [
            one for one in (errors.get("data") or () if isinstance(errors, dict) else ()) if isinstance(one, dict)
        ]
        files = [
            name for key in ("output_file_id", "error_file_id") if isinstance(name := found.get(key), str) and name
        ]
        return BatchStatus(
            state=state, is_ended=state in _ENDED, done=counts.get("completed", 0) + counts.get("failed", 0),
            is_wanted_later=state == "failed" and any(one.get("code") in _NO_ROOM for one in problems),
            reason=str(problems[0].get("message") or problems[0].get("code")) if problems else None, results=files,
        )  # fmt: skip

    async def results(self, door: Door, batch_id: str, status: BatchStatus) -> AsyncIterator[BatchResult]:  # noqa: ARG002
        """Same as `BatchApi.results`: answers and errors are in separate files. Either may be missing."""
        gone: LLMRouterError | None = None
        for file in status.results:
            try:
                async for line in door.lines(f"/files/{quote(file, safe='')}/content"):
                    yield _result(line)
            except LLMRouterError as error:
                if error.status_code not in GONE:
                    raise
                gone = error
        if gone is not None:
            raise gone

    async def cancel(self, door: Door, batch_id: str) -> None:
        """See `BatchApi.cancel`."""
        await door.json("POST", f"/batches/{quote(batch_id, safe='')}/cancel")


def _name(batch: Submission) -> str:
    return f"{batch.token}.jsonl"


def _result(line: Mapping[str, Any]) -> BatchResult:
    custom_id = line.get("custom_id")
    name = custom_id if isinstance(custom_id, str) else None
    response = line.get("response")
    if not isinstance(response, dict) or not isinstance(response.get("status_code"), int):
        return BatchResult(name, 0)
    body = response.get("body")
    return BatchResult(name, response["status_code"], json.dumps(body).encode())
