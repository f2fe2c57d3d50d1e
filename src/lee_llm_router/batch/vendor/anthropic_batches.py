"""Anthropic's Message Batches: requests are sent in one body, results are a file of lines.

Follows the API reference of ``/v1/messages/batches``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from lee_llm_router.batch.vendor.api import GONE, MB, BatchLimits, BatchResult, BatchStatus, Submission
from lee_llm_router.batch.vendor.door import FILE_SECONDS, Door, numbers_in, text_in
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.json_body import encode_json

_PATH = "/messages/batches"
_SLACK = 300.0
"""Seconds that the vendor's clock may be behind ours."""
_MOST_PAGES = 50
_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500,
    "timeout_error": 504, "overloaded_error": 529,
}  # fmt: skip
"""The HTTP status of each error type (docs.claude.com/en/api/errors)."""


class AnthropicBatches:
    """See `BatchApi`."""

    # docs.claude.com, "Batch processing": "100,000 Message requests or 256 MB in size, whichever is reached first".
    limits = BatchLimits(rows=100_000, size=256 * MB)
    needs_file = False

    def line(self, custom_id: str, path: str, body: Mapping[str, Any]) -> bytes:  # noqa: ARG002 - there is one path
        """See `BatchApi.line`."""
        request = {"custom_id": custom_id, "params": body}
        return encode_json(request)

    async def upload(self, door: Door, batch: Submission) -> str:
        """Not used: there is no file."""
        raise NotImplementedError

    async def find_upload(self, door: Door, batch: Submission) -> str | None:  # noqa: ARG002 - there is no file
        """Return None: there is no file."""
        return None

    async def create(self, door: Door, batch: Submission) -> str:
        """See `BatchApi.create`."""
        raw = b'{"requests":[' + b",".join(batch.lines) + b"]}"
        return text_in(await door.json("POST", _PATH, raw=raw, seconds=FILE_SECONDS), "id")

    async def find(self, door: Door, batch: Submission, known: frozenset[str]) -> str | None:
        """Same as `BatchApi.find`. A batch has no name: any unknown one of the same size created since then may be it.

        If it has ended, the ids of its results decide. While it is in progress they are not visible; its results are
        checked when it has ended.
        """
        after = ""
        for _ in range(_MOST_PAGES):
            page = await door.json("GET", f"{_PATH}?limit=100{after}")
            for one in page.get("data") or ():
                if not isinstance(one, dict) or one.get("id") in known:
                    continue
                made = _moment(one.get("created_at"))
                if made is not None and made < batch.created - _SLACK:
                    return None
                if sum(numbers_in(one.get("request_counts")).values()) != batch.rows:
                    continue
                found = text_in(one, "id")
                if one.get("processing_status") != "ended" or await self._is_ours(door, found, batch.token):
                    return found
            if not page.get("has_more") or not page.get("last_id"):
                return None
            after = f"&after_id={quote(str(page['last_id']), safe='')}"
        return None

    async def _is_ours(self, door: Door, batch_id: str, token: str) -> bool:
        """Return whether the results of a batch carry our ids; if its results are gone it does not matter.

        Raises:
            LLMRouterError: they cannot be fetched now. Treating it as someone else's would send its rows twice.
        """
        try:
            async for result in self.results(door, batch_id, _UNKNOWN):
                return result.custom_id is not None and result.custom_id.startswith(token)
        except LLMRouterError as error:
            if error.status_code not in GONE:
                raise
        return False

    async def status(self, door: Door, batch_id: str) -> BatchStatus:
        """See `BatchApi.status`."""
        found = await door.json("GET", f"{_PATH}/{quote(batch_id, safe='')}")
        state, counts = text_in(found, "processing_status"), numbers_in(found.get("request_counts"))
        done = sum(count for name, count in counts.items() if name != "processing")
        return BatchStatus(state=state, is_ended=state == "ended", done=done)

    async def results(self, door: Door, batch_id: str, status: BatchStatus) -> AsyncIterator[BatchResult]:  # noqa: ARG002
        """Same as `BatchApi.results`. The URL that the vendor names is not followed: it could lead elsewhere."""
        async for line in door.lines(f"{_PATH}/{quote(batch_id, safe='')}/results"):
            custom_id, result = line.get("custom_id"), line.get("result")
            yield _result(custom_id if isinstance(custom_id, str) else None, result if isinstance(result, dict) else {})

    async def cancel(self, door: Door, batch_id: str) -> None:
        """See `BatchApi.cancel`."""
        await door.json("POST", f"{_PATH}/{quote(batch_id, safe='')}/cancel")


_UNKNOWN = BatchStatus(state="ended", is_ended=True)


def _result(name: str | None, result: Mapping[str, Any]) -> BatchResult:
    message, error = result.get("message"), result.get("error")
    if result.get("type") == "succeeded" and isinstance(message, dict):
        return BatchResult(name, 200, json.dumps(message).encode())
    if result.get("type") == "errored" and isinstance(error, dict):
        inner = error.get("error")
        kind = inner.get("type") if isinstance(inner, dict) else error.get("type")
        return BatchResult(name, _STATUSES.get(str(kind), 500), json.dumps(error).encode())
    return BatchResult(name, 0)


def _moment(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
