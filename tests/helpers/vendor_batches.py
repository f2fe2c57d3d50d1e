"""A server of one vendor's batch API that keeps the vendor's rules, and of its live API beside it.

A prompt says what becomes of its row in a batch: one that begins with ``error`` is refused, ``expired`` is not asked,
``missing`` has no result, ``twice`` has two; any other is answered in capitals. Live answers begin with ``LIVE``.
"""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from helpers import (
    anthropic_messages,
    gemini_wire,
    responses_support,
    strict_anthropic,
    strict_gemini,
    strict_openai_chat,
    strict_openai_responses,
)
from helpers.servers import Received, Server, answering_by, completion, http, json_answer

VENDORS = ("openai", "anthropic", "gemini")
KEY = "sk-" + "batch-key-1"
MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FOLDERS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
_STATES = {"openai": ("in_progress", "completed"), "gemini": ("BATCH_STATE_RUNNING", "BATCH_STATE_SUCCEEDED")}


class Refused(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


class VendorServer:
    """One vendor, on loopback."""

    def __init__(self, vendor: str, *, responses: bool = False) -> None:
        self.vendor = vendor
        self._of_openai = "/responses" if responses else "/chat/completions"
        """Where OpenAI is asked, live and by each row of a batch."""
        self.files: dict[str, tuple[str, bytes]] = {}
        """Uploaded files: name and content."""
        self.batches: dict[str, dict[str, Any]] = {}
        self.in_batches: Counter[str] = Counter()
        """How often each prompt came in a batch."""
        self.live: Counter[str] = Counter()
        """How often each prompt was asked live."""
        self.seen: list[str] = []
        """What was asked of the API, in words: upload, create, status, list, results, cancel, live."""
        self.bodies: dict[str, list[Any]] = defaultdict(list)
        """The JSON that came with what was asked, by that word."""
        self.looks = 1
        """Looks at a batch until it has ended."""
        self.after: Callable[[str], object] = lambda event: None
        """Called once something is done, before it is answered; an OSError hangs up, a `Refused` is sent."""
        self.before: Callable[[str], object] = lambda event: None
        """As `after`, before it is done."""
        self.end_state: str | None = None
        self.cut = 0
        """Downloads of results that still break off in the middle."""
        self.no_room = 0
        """Batches that still fail, since too many tokens are enqueued."""
        self.capital = True
        """Whether batches answer in capitals."""
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._server = Server(answering_by(self._answer))

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.__exit__(kind, error, tb)

    def config(self, **role: Any) -> dict[str, Any]:
        """A configuration with one role, `r`, that asks this server."""
        kind = "openai_responses" if self._of_openai == "/responses" else self.vendor
        provider = {"type": kind, "base_url": self.url, "api_key_env": "VENDOR_KEY"}
        asked = {"provider": "p", "model": MODELS[self.vendor], "retry": {"attempts": 1, "patience": 0}, **role}
        return {"providers": {"p": provider}, "default_role": "r", "roles": {"r": asked}}

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://{self._server.address}{_FOLDERS[self.vendor]}"

    @property
    def requests(self) -> list[Received]:
        """All that was asked, as it came."""
        return self._server.requests

    def lines_of(self, batch_id: str) -> bytes:
        """The lines of results of a batch."""
        return self._lines(self.batches[batch_id]).partition(b"\r\n\r\n")[2]

    def times(self, event: str) -> int:
        """How often something was asked of the API."""
        return self.seen.count(event)

    def _answer(self, received: Received) -> bytes:
        method, target, _ = received.line.split(" ")
        split = urlsplit(target)
        path, query = split.path.removeprefix(_FOLDERS[self.vendor]), parse_qs(split.query)
        with self._lock:
            try:
                self._check_key(received)
                event, act = getattr(self, f"_{self.vendor}")(method, path, query, received)
                self.seen.append(event)
                if received.body.startswith(b"{"):
                    self.bodies[event].append(received.json)
                self.before(event)
                answer = act()
                self.after(event)
            except Refused as error:
                return json_answer(self._error(error.status, error.message), error.status)
        return answer if isinstance(answer, bytes) else json_answer(answer)

    def _check_key(self, received: Received) -> None:
        names = {"openai": "authorization", "anthropic": "authorization", "gemini": "x-goog-api-key"}
        if KEY not in received.headers.get(names[self.vendor], ""):
            raise Refused(401, "invalid key")
        if self.vendor == "anthropic" and "anthropic-version" not in received.headers:
            raise Refused(400, "anthropic-version: header is required")

    def _error(self, status: int, message: str) -> dict[str, Any]:
        if self.vendor == "anthropic":
            kind = {401: "authentication_error", 404: "not_found_error", 413: "request_too_large"}
            return anthropic_messages.error(
                kind.get(status, "invalid_request_error" if status < 500 else "api_error"), message
            )
        if self.vendor == "gemini":
            return gemini_wire.rpc_error(status, "INVALID_ARGUMENT", message)
        return {"error": {"message": message, "type": "invalid_request_error", "code": None, "param": None}}

    # What each vendor's API has. Each returns what is asked, in a word, and how to do it.

    def _openai(self, method: str, path: str, query: Mapping[str, Any], received: Received) -> tuple[str, Any]:
        batch = re.fullmatch(r"/batches/([^/]+)(/cancel)?", path)
        content = re.fullmatch(r"/files/([^/]+)/content", path)
        if (method, path) == ("POST", "/files"):
            return "upload", lambda: self._uploaded(received)
        if (method, path) == ("GET", "/files"):
            assert query == {"purpose": ["batch"], "limit": ["1000"]}
            found = [{"id": name, "filename": file[0], "created_at": 0} for name, file in self.files.items()]
            return "list files", lambda: {"object": "list", "data": found, "has_more": False}
        if (method, path) == ("POST", "/batches"):
            return "create", lambda: self._created_of_file(received.json)
        if (method, path) == ("GET", "/batches"):
            return "list", lambda: self._page(query, "after")
        if content:
            return "results", lambda: self._downloaded(content[1])
        if batch:
            return ("cancel" if batch[2] else "status"), lambda: self._shown(
                self._found(batch[1]), cancel=bool(batch[2])
            )
        return "live", lambda: self._answered_live(received.json, path)

    def _anthropic(self, method: str, path: str, query: Mapping[str, Any], received: Received) -> tuple[str, Any]:
        batch = re.fullmatch(r"/messages/batches/([^/]+)(/cancel|/results)?", path)
        if (method, path) == ("POST", "/messages/batches"):
            return "create", lambda: self._created(received.json, "requests", "params", "/messages")
        if (method, path) == ("GET", "/messages/batches"):
            return "list", lambda: self._page(query, "after_id")
        if batch and batch[2] == "/results":
            return "results", lambda: self._lines(self._found(batch[1]))
        if batch:
            return ("cancel" if batch[2] else "status"), lambda: self._shown(
                self._found(batch[1]), cancel=bool(batch[2])
            )
        return "live", lambda: self._answered_live(received.json, path)

    def _gemini(self, method: str, path: str, query: Mapping[str, Any], received: Received) -> tuple[str, Any]:
        batch = re.fullmatch(r"/(batches/[^/:]+)(:cancel)?", path)
        if method == "POST" and path.endswith(":batchGenerateContent"):
            assert path == f"/models/{MODELS['gemini']}:batchGenerateContent"
            return "create", lambda: self._created_inline(received)
        if (method, path) == ("GET", "/batches"):
            shown = [self._shown(one, look=False) for one in reversed(self.batches.values())]
            return "list", lambda: {"operations": shown}
        if batch:
            return ("cancel" if batch[2] else "status"), lambda: self._shown(
                self._found(batch[1]), cancel=bool(batch[2])
            )
        return "live", lambda: self._answered_live(received.json, path)

    def _uploaded(self, received: Received) -> dict[str, Any]:
        kind, _, boundary = received.headers["content-type"].partition("; boundary=")
        assert kind == "multipart/form-data" and boundary
        parts = received.body.split(f"--{boundary}".encode())
        assert parts[0] == b"" and parts[-1] == b"--\r\n" and len(parts) == 4
        fields = {}
        for part in parts[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            found = re.search(rb'form-data; name="(\w+)"(?:; filename="([^"]+)")?', head)
            assert found is not None and content.endswith(b"\r\n")
            fields[found[1]] = (found[2], content[:-2])
        assert fields.keys() == {b"purpose", b"file"} and fields[b"purpose"] == (None, b"batch")
        filename, content = fields[b"file"]
        assert filename is not None and filename.endswith(b".jsonl")
        name = f"file-{next(self._numbers)}"
        self.files[name] = (filename.decode(), content)
        return {"id": name, "object": "file", "bytes": len(content), "filename": filename.decode(), "purpose": "batch"}

    def _created_of_file(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body.keys() == {"input_file_id", "endpoint", "completion_window", "metadata"}
        assert body["endpoint"] == f"/v1{self._of_openai}" and body["completion_window"] == "24h"
        assert all(isinstance(value, str) for value in body["metadata"].values())
        requests = [json.loads(line) for line in self.files[body["input_file_id"]][1].splitlines()]
        assert len(requests) <= 50_000
        assert len({request["body"]["model"] for request in requests}) == 1
        for request in requests:
            assert request.keys() == {"custom_id", "method", "url", "body"}
            assert (request["method"], request["url"]) == ("POST", body["endpoint"])
            self._check(request["body"], self._of_openai)
        return self._made({one["custom_id"]: one["body"] for one in requests}, len(requests), body["metadata"], body)

    def _created(self, body: dict[str, Any], name: str, inner: str, path: str) -> dict[str, Any]:
        assert body.keys() == {name}
        for request in body[name]:
            assert request.keys() == {"custom_id", inner} and _ID.fullmatch(request["custom_id"])
            self._check(request[inner], path)
        return self._made({one["custom_id"]: one[inner] for one in body[name]}, len(body[name]), None, body)

    def _created_inline(self, received: Received) -> dict[str, Any]:
        if len(received.body) > 20_000_000:
            raise Refused(413, "too large")
        batch = received.json["batch"]
        assert received.json.keys() == {"batch"} and batch.keys() == {"displayName", "inputConfig"}
        assert batch["inputConfig"].keys() == {"requests"} == batch["inputConfig"]["requests"].keys()
        requests = batch["inputConfig"]["requests"]["requests"]
        for request in requests:
            assert request.keys() == {"request", "metadata"}
            self._check(request["request"], f"/models/{MODELS['gemini']}:generateContent")
        rows = {one["metadata"]["key"]: one["request"] for one in requests}
        return self._made(rows, len(requests), batch["displayName"], batch)

    def _made(self, rows: dict[str, Any], number: int, mark: Any, body: Any) -> dict[str, Any]:
        if len(rows) != number:
            raise Refused(400, "duplicate custom_id")
        prefix = {"openai": "batch_", "anthropic": "msgbatch_", "gemini": "batches/"}[self.vendor]
        name = f"{prefix}{next(self._numbers)}"
        if self.no_room:
            self.no_room -= 1
            self.batches[name] = {"id": name, "rows": {}, "mark": mark, "looks": 9, "cancelled": False, "file": None}
            self.batches[name]["failed"] = True
            return self._shown(self.batches[name], look=False)
        file = body.get("input_file_id") if isinstance(body, dict) else None
        self.batches[name] = {"id": name, "rows": rows, "mark": mark, "looks": 0, "cancelled": False, "file": file}
        self.in_batches.update(map(self._prompt, rows.values()))
        return self._shown(self.batches[name], look=False)

    def _check(self, body: dict[str, Any], path: str) -> None:
        strict: Any = {"openai": strict_openai_chat, "anthropic": strict_anthropic, "gemini": strict_gemini}[
            self.vendor
        ]
        if path == "/responses":
            strict = strict_openai_responses
        problem = strict.check(body, path, {})
        if problem is not None or "stream" in body:
            raise Refused(400, problem or "stream")

    def _found(self, name: str) -> dict[str, Any]:
        if name not in self.batches:
            raise Refused(404, "no such batch: not found")
        return self.batches[name]

    def _page(self, query: Mapping[str, Any], after: str) -> dict[str, Any]:
        """One batch a page, the newest first."""
        names = list(reversed(self.batches))
        place = names.index(query[after][0]) + 1 if after in query else 0
        page = [self._shown(self.batches[name], look=False) for name in names[place : place + 1]]
        return {"data": page, "has_more": place + 1 < len(names), "last_id": page[-1]["id"] if page else None}

    def _shown(self, batch: dict[str, Any], *, look: bool = True, cancel: bool = False) -> dict[str, Any]:
        batch["cancelled"] |= cancel
        batch["looks"] += look and not cancel
        is_ended = batch["looks"] > self.looks or (batch["cancelled"] and batch["looks"] > 0)
        number = len(batch["rows"])
        results = list(self._results(batch))
        good = sum(1 for _, status, _ in results if status == 200)
        if self.vendor == "anthropic":
            counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
            counts |= {"succeeded": number} if is_ended else {"processing": number}
            return {
                "id": batch["id"], "type": "message_batch", "processing_status": "ended" if is_ended else "in_progress",
                "request_counts": counts, "created_at": "2027-01-15T08:20:00Z", "expires_at": "2027-01-16T08:00:00Z",
                "results_url": "http://elsewhere.invalid/results" if is_ended else None,
            }  # fmt: skip
        state = self.end_state if is_ended and self.end_state else _STATES[self.vendor][is_ended]
        if self.vendor == "gemini":
            stats = {"requestCount": str(number), "successfulRequestCount": str(good if is_ended else 0)}
            metadata = {"state": state, "displayName": batch["mark"], "batchStats": stats}
            shown = {"name": batch["id"], "metadata": metadata, "done": is_ended}
            if is_ended:
                shown["response"] = {"inlinedResponses": {"inlinedResponses": [self._inlined(*one) for one in results]}}
            return shown
        state = "failed" if batch.get("failed") else state
        return {
            "id": batch["id"], "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": batch["file"],
            "completion_window": "24h", "status": state, "created_at": 1_800_000_000, "metadata": batch["mark"],
            "request_counts": {"total": number, "completed": good if is_ended else 0, "failed": 0},
            "output_file_id": f"out-{batch['id']}" if is_ended else None,
            "error_file_id": f"err-{batch['id']}" if is_ended and good < len(results) else None,
            "errors": {"data": [{"code": "token_limit_exceeded", "message": "full"}]} if batch.get("failed") else None,
        }  # fmt: skip

    def _results(self, batch: dict[str, Any]) -> Iterator[tuple[str, int, Any]]:
        """What came of the rows of a batch, in an order of its own: id, status (0: not asked) and body."""
        rows = list(batch["rows"].items())
        random.Random(7).shuffle(rows)
        for custom_id, body in rows:
            prompt = self._prompt(body)
            if prompt.startswith("missing"):
                continue
            if prompt.startswith("expired") or batch["cancelled"]:
                yield custom_id, 0, None
            elif prompt.startswith("error"):
                yield custom_id, 400, self._error(400, "this row is refused")
            else:
                for _ in range(2 if prompt.startswith("twice") else 1):
                    yield custom_id, 200, self._said(prompt.upper() if self.capital else prompt)
        yield "somebody-elses", 200, self._said("NOT OURS")

    def _inlined(self, custom_id: str, status: int, body: Any) -> dict[str, Any]:
        said = (
            {"response": body} if status == 200 else {"error": body["error"] if body else {"code": 1, "message": "x"}}
        )
        return {"metadata": {"key": custom_id}, **said}

    def _downloaded(self, name: str) -> bytes:
        batch = self._found(name.partition("-")[2])
        return self._lines(batch, wanted=name.startswith("out-"))

    def _lines(self, batch: dict[str, Any], *, wanted: bool | None = None) -> bytes:
        lines: list[dict[str, Any]] = []
        for custom_id, status, body in self._results(batch):
            if wanted is not None and wanted is not (status == 200):
                continue
            if self.vendor == "anthropic":
                kind = {200: "succeeded", 0: "expired"}.get(status, "errored")
                result = {"type": kind} | ({"message": body} if status == 200 else {"error": body} if status else {})
                lines.append({"custom_id": custom_id, "result": result})
            else:
                response = {"status_code": status, "request_id": "r", "body": body} if status else None
                error = None if status else {"code": "batch_expired", "message": "it expired"}
                line: dict[str, Any] = {"id": "b", "custom_id": custom_id, "response": response, "error": error}
                lines.append(line)
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        if self.cut:
            self.cut -= 1
            content = content[: len(content) // 2]
        return http(200, content, {"Content-Type": "application/x-jsonl"})

    def _answered_live(self, body: dict[str, Any], path: str) -> dict[str, Any]:
        self._check(body, path)
        prompt = self._prompt(body)
        self.live[prompt] += 1
        return self._said(f"LIVE {prompt}")

    def _said(self, text: str) -> dict[str, Any]:
        if self.vendor == "anthropic":
            return anthropic_messages.message({"type": "text", "text": text})
        if self._of_openai == "/responses":
            return responses_support.response(responses_support.message(text))
        return gemini_wire.answer(gemini_wire.text(text)) if self.vendor == "gemini" else completion(text)

    def _prompt(self, body: Mapping[str, Any]) -> str:
        if self.vendor == "gemini":
            return str(body["contents"][-1]["parts"][0]["text"])
        messages = body["input"] if self._of_openai == "/responses" else body["messages"]
        if isinstance(messages, str):
            return messages
        content = messages[-1]["content"]
        return content if isinstance(content, str) else str(content[0]["text"])
