"""Gemini's Batch API: requests are sent in one body, and the batch contains their answers once it has ended.

Follows ai.google.dev, "Batch API", and the reference of ``models.batchGenerateContent`` (v1beta).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote

from lee_llm_router.batch.vendor.api import MB, BatchLimits, BatchResult, BatchStatus, Submission
from lee_llm_router.batch.vendor.door import FILE_SECONDS, Door, numbers_in, text_in
from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.http.dialects.json_body import encode_json

_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"})
_MOST_PAGES = 50
_STATUSES = {1: 0, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}
"""The HTTP status for gRPC codes (google/rpc/code.proto); a cancelled request counts as not made."""


class GeminiBatches:
    """See `BatchApi`."""

    # ai.google.dev, "Batch API", inline requests: "total request size under 20MB". This leaves a megabyte for what is
    # around them. No maximum number of requests is documented; one body contains all answers.
    limits = BatchLimits(rows=10_000, size=19 * MB)
    needs_file = False

    def line(self, custom_id: str, path: str, body: Mapping[str, Any]) -> bytes:  # noqa: ARG002 - it is the batch's
        """See `BatchApi.line`."""
        request = {"request": body, "metadata": {"key": custom_id}}
        return encode_json(request)

    async def upload(self, door: Door, batch: Submission) -> str:
        """Not used: there is no file."""
        raise NotImplementedError

    async def find_upload(self, door: Door, batch: Submission) -> str | None:  # noqa: ARG002 - there is no file
        """Return None: there is no file."""
        return None

    async def create(self, door: Door, batch: Submission) -> str:
        """See `BatchApi.create`."""
        raw = b"".join((
            b'{"batch":{"displayName":', json.dumps(batch.token).encode(),
            b',"inputConfig":{"requests":{"requests":[', b",".join(batch.lines), b"]}}}}",
        ))  # fmt: skip
        path = f"{batch.path.rpartition(':')[0]}:batchGenerateContent"
        return text_in(await door.json("POST", path, raw=raw, seconds=FILE_SECONDS), "name")

    async def find(self, door: Door, batch: Submission, known: frozenset[str]) -> str | None:  # noqa: ARG002 - by its name
        """See `BatchApi.find`."""
        more = ""
        for _ in range(_MOST_PAGES):
            page = await _object(door, f"/batches?pageSize=20{more}")
            for one in page.get("operations") or ():
                if isinstance(one, dict) and _metadata(one).get("displayName") == batch.token:
                    return text_in(one, "name")
            if not page.get("nextPageToken"):
                return None
            more = f"&pageToken={quote(str(page['nextPageToken']), safe='')}"
        return None

    async def status(self, door: Door, batch_id: str) -> BatchStatus:
        """Same as `BatchApi.status`. A batch that has ended includes its answers."""
        found = await _object(door, _path(batch_id))
        metadata = _metadata(found)
        state = str(metadata.get("state") or "").removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
        counts = numbers_in(metadata.get("batchStats"))
        done = counts.get("successfulRequestCount", 0) + counts.get("failedRequestCount", 0)
        error = found.get("error")
        reason = str(error.get("message")) if isinstance(error, dict) else None
        return BatchStatus(
            state=state.lower(), is_ended=found.get("done") is True or state in _ENDED, done=done, reason=reason,
            results=_inlined(found),
        )  # fmt: skip

    async def results(self, door: Door, batch_id: str, status: BatchStatus) -> AsyncIterator[BatchResult]:  # noqa: ARG002
        """See `BatchApi.results`."""
        for one in status.results:
            metadata, response, error = one.get("metadata"), one.get("response"), one.get("error")
            key = metadata.get("key") if isinstance(metadata, dict) else None
            name = key if isinstance(key, str) else None
            if isinstance(response, dict):
                yield BatchResult(name, 200, json.dumps(response).encode())
            elif isinstance(error, dict):
                code = error.get("code")
                yield BatchResult(name, _status_of(code), json.dumps({"error": error}).encode())
            else:
                yield BatchResult(name, 0)

    async def cancel(self, door: Door, batch_id: str) -> None:
        """See `BatchApi.cancel`."""
        await door.json("POST", f"{_path(batch_id)}:cancel", {})


def _status_of(code: Any) -> int:
    """Return the HTTP status for an error code, which is a gRPC code or already a status."""
    if not isinstance(code, int):
        return 500
    return _STATUSES.get(code, code if 400 <= code < 600 else 500)


def _path(batch_id: str) -> str:
    """Return the path of the batch that is named ``batches/...``."""
    return "/" + "/".join(quote(part, safe="") for part in batch_id.split("/"))


async def _object(door: Door, path: str) -> dict[str, Any]:
    """Return the object at `path`, which may be long: all answers of a batch."""
    with closing(await door.file(path)) as stored:
        try:
            found = json.load(stored)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        raise InvalidResponseError("the answer about a batch is not an object")
    return found


def _metadata(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    found = operation.get("metadata")
    return found if isinstance(found, dict) else {}


def _inlined(operation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the answers in a batch: under `response`, as in an operation, else at the batch's own place for them."""
    for outer in (operation.get("response"), _metadata(operation).get("output")):
        found = outer.get("inlinedResponses") if isinstance(outer, dict) else None
        entries = found.get("inlinedResponses") if isinstance(found, dict) else found
        if isinstance(entries, list):
            return [one for one in entries if isinstance(one, dict)]
    return []
