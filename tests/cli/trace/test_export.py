"""`trace export`: records as JSON lines, and spans that a receiver takes, or takes later."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Run
from helpers.records import make
from helpers.servers import Conversation, Server
from helpers.support import EPOCH, FakeClock
from helpers.trace_set import trace_set
from lee_llm_router import LLMRouterError, LocalFileTraceStore
from lee_llm_router.cli.trace.otlp_sending import OtlpSender, SentSpans
from lee_llm_router.errors import ConfigError
from lee_llm_router.telemetry.calls import TracedCall, calls_from

RECORDS = list(trace_set(30))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    store = LocalFileTraceStore(tmp_path / "traces")
    for record in RECORDS:
        store.write(record)
    return str(tmp_path / "traces")


class Receiver(Server):
    """Answers each request with the next of `answers`, the last again and again; keeps the spans it was sent."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = list(answers) or [(200, {}, b"{}")]
        super().__init__(self._script_of_answers)

    def __enter__(self) -> Receiver:
        super().__enter__()
        return self

    def _script_of_answers(self, conversation: Conversation) -> None:
        while conversation.receive() is not None:
            status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = (
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
            )
            conversation.send(head.encode() + body)

    def spans(self, request: int) -> list[dict[str, Any]]:
        body = json.loads(gzip.decompress(self.requests[request].body))
        found: list[dict[str, Any]] = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
        return found


def busy(status: int, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, b'{"message": "not now"}'


TAKEN: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")


class WaitingClock(FakeClock):
    """Notes how long is waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def sent(
    receiver: Receiver, calls: list[TracedCall], variables: dict[str, str] | None = None, **options: Any
) -> tuple[SentSpans, list[float]]:
    clock = WaitingClock()
    sender = OtlpSender(f"http://{receiver.address}", variables or {}, version="1", clock=clock, **options)
    return sender.send(calls), clock.waits


def one_call(name: str = "a", **fields: Any) -> TracedCall:
    return TracedCall((make(name, **fields),))


def test_a_receiver_gets_all_calls_that_match(folder: str, run: Run) -> None:
    """In one request to its path, compressed, with ids in the form of the protocol; a line says what was sent."""
    with Receiver() as receiver:
        code, out, err = run(
            "trace", "export", "--dir", folder, "--role", "planner", "--otlp", f"http://{receiver.address}/"
        )
        spans = receiver.spans(0)
        (request,) = receiver.requests
    calls = [call for call in calls_from(RECORDS) if call.role == "planner"]
    assert (code, out) == (0, "")
    assert err == f"sent {len(calls)} calls as {len(spans)} spans\n"
    assert request.line == "POST /v1/traces HTTP/1.1"
    assert (request.headers["content-type"], request.headers["content-encoding"]) == ("application/json", "gzip")
    assert {span["traceId"] for span in spans} == {call.request_id.replace("-", "") for call in calls}
    assert all(re.fullmatch("[0-9a-f]{16}", span["spanId"]) for span in spans)
    assert len(spans) == sum(1 + len(call.attempts) for call in calls)


def test_its_variables_say_headers_names_and_whether_to_compress() -> None:
    """Those for traces go before those for everything; values are encoded as in an address."""
    variables = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=no", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=a%20b, x=1",
        "OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "service.name=no,deployment.environment=test",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }  # fmt: skip
    with Receiver() as receiver:
        sent(receiver, [one_call()], variables)
        (request,) = receiver.requests
    assert (request.headers["api-key"], request.headers["x"]) == ("a b", "1")
    assert "content-encoding" not in request.headers
    resource = {
        one["key"]: one["value"]["stringValue"] for one in request.json["resourceSpans"][0]["resource"]["attributes"]
    }
    assert resource == {"service.name": "shop", "deployment.environment": "test"}


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ([busy(429, Retry_After="7"), TAKEN], [7.0]),
        ([busy(503), busy(502), busy(504), TAKEN], [1.0, 2.0, 4.0]),
        ([busy(503, Retry_After="99999"), TAKEN], [120.0]),
    ],
)
def test_a_busy_receiver_is_asked_again(answers: list[Any], waits: list[float]) -> None:
    """After the time that it names, else after twice the last; the same batch, and once only if it is taken."""
    with Receiver(*answers) as receiver:
        found, waited = sent(receiver, [one_call()])
        bodies = {request.body for request in receiver.requests}
    assert (found.calls, found.spans, waited, len(bodies)) == (1, 2, waits, 1)


@pytest.mark.parametrize(("status", "requests"), [(400, 1), (401, 1), (404, 1), (500, 1), (307, 1), (503, 6)])
def test_a_receiver_that_refuses_ends_it(status: int, requests: int) -> None:
    """With what it says; and one that stays busy, after six tries."""
    with Receiver(busy(status)) as receiver:
        with pytest.raises(LLMRouterError, match=f"answered {status}: not now"):
            sent(receiver, [one_call()])
        assert len(receiver.requests) == requests


def test_keys_are_not_shown_though_the_receiver_says_them() -> None:
    answer: Any = (401, {}, b'{"message": "no such key: s3cret-k3y-of-mine"}')
    with Receiver(answer) as receiver, pytest.raises(LLMRouterError) as caught:
        sent(receiver, [one_call()], {"OTEL_EXPORTER_OTLP_HEADERS": "x-team=s3cret-k3y-of-mine"})
    assert "s3cret" not in str(caught.value)


def test_credentials_in_the_address_are_a_header_and_never_shown() -> None:
    with Receiver(busy(403)) as receiver:
        sender = OtlpSender(f"http://me:pass%21@{receiver.address}", {}, version="1")
        with pytest.raises(LLMRouterError) as caught:
            sender.send([one_call()])
        assert receiver.requests[0].headers["authorization"] == "Basic bWU6cGFzcyE="
    assert "pass" not in str(caught.value)


def test_a_receiver_that_is_not_there_is_told_of_at_once() -> None:
    with Receiver() as receiver:
        address = receiver.address
    clock = WaitingClock()
    with pytest.raises(LLMRouterError, match="connection refused"):
        OtlpSender(f"http://{address}", {}, version="1", clock=clock).send([one_call()])
    assert clock.waits == []


def test_batches_are_whole_calls_and_bounded() -> None:
    """Of 512 spans, or 2 MB."""
    with Receiver() as receiver:
        found, _ = sent(receiver, [one_call(f"call-{number}") for number in range(600)])
        sizes = [len(receiver.spans(number)) for number in range(len(receiver.requests))]
    assert (found.calls, found.spans, sizes) == (600, 1200, [512, 512, 176])
    with Receiver() as receiver:
        long = {"messages": ({"role": "user", "content": "x" * 900_000},)}
        sent(receiver, [one_call(f"call-{number}", **long) for number in range(7)], content=True)
        assert [len(receiver.spans(number)) for number in range(3)] == [6, 6, 2]


def test_a_batch_that_is_too_large_is_halved() -> None:
    """Until a call alone is; that one is left out."""
    with Receiver((413, {}, b""), (413, {}, b""), (413, {}, b""), TAKEN) as receiver:
        found, _ = sent(receiver, [one_call(name) for name in "abcd"])
        sizes = [len(receiver.spans(number)) for number in range(len(receiver.requests))]
    assert (found.calls, found.left_out, sizes) == (3, 1, [8, 4, 2, 2, 4])


def test_what_a_receiver_does_not_take_is_counted(folder: str, run: Run) -> None:
    """And the exit code says so; a call without a time is left out."""
    partial = json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too\x1b[31m old"}}).encode()
    with Receiver((200, {}, partial)) as receiver:
        code, _, err = run("trace", "export", "--dir", folder, "--otlp", f"http://{receiver.address}")
    assert code == 1
    assert err.splitlines()[1] == r"rejected by the receiver: 3 spans (too\x1b[31m old)"
    with Receiver() as receiver:
        assert sent(receiver, [one_call(started_at="never")])[0].left_out == 1
        assert receiver.requests == []


def test_what_was_sent_before_it_broke_off_is_said_and_need_not_be_sent_again(
    folder: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are those that began before the moment it names."""
    monkeypatch.setattr("lee_llm_router.cli.trace.otlp_sending._MOST_SPANS", 20)
    with Receiver(TAKEN, busy(400)) as receiver:
        code, _, err = run("trace", "export", "--dir", folder, "--otlp", f"http://{receiver.address}")
        first = {span["traceId"] for span in receiver.spans(0)}
    assert code == 1
    moment = re.search(r"to send the others, use --until (\S+)", err)
    assert moment is not None
    with Receiver() as receiver:
        code, _, _ = run(
            "trace", "export", "--dir", folder, "--otlp", f"http://{receiver.address}", "--until", moment[1]
        )
        rest = {span["traceId"] for number in range(len(receiver.requests)) for span in receiver.spans(number)}
    assert code == 0
    assert first | rest == {record.request_id.replace("-", "") for record in RECORDS}


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://x", "", "http://", "http://x:99999", "grpc://localhost:4317"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        OtlpSender(url, {}, version="1")


@pytest.mark.parametrize("text", ["s3cret", "a=1,s3cret", "=s3cret", "x=s3cr\u2603et"])
def test_a_variable_that_cannot_be_read_is_named_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught:
        OtlpSender("http://x", {"OTEL_EXPORTER_OTLP_HEADERS": text}, version="1")
    assert "s3cr" not in str(caught.value)


def lines_of(text: str | bytes) -> list[str]:
    return [json.loads(line)["request_id"] for line in text.splitlines()]


def test_json_lines_have_the_records_of_each_call_the_oldest_first(folder: str, run: Run, tmp_path: Path) -> None:
    """To standard output, or to a file that only its owner reads; as they were written."""
    code, out, err = run("trace", "export", "--dir", folder, "--jsonl")
    assert (code, err) == (0, "")
    expected = [record.to_json() for call in calls_from(RECORDS) for record in call.records]
    assert sorted(out.encode().splitlines()) == sorted(expected)
    assert run("trace", "export", "--dir", folder, "--jsonl", "--role", "planner")[1].count("\n") < len(expected)
    code, out, err = run("trace", "export", "--dir", folder, "--jsonl", "-o", "out.jsonl")
    assert (code, out, err) == (0, "", f"wrote 30 calls, {len(RECORDS)} records, to out.jsonl\n")
    assert sorted(Path("out.jsonl").read_bytes().splitlines()) == sorted(expected)
    assert Path("out.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_order_is_that_in_which_calls_ended(tmp_path: Path, run: Run) -> None:
    store = LocalFileTraceStore(tmp_path / "t")
    fails: dict[str, Any] = {"outcome": "error", "verdict": "next"}
    for record in (
        make("a", 0, EPOCH, **fails),
        make("b", 0, EPOCH + 1),
        make("a", 1, EPOCH + 2),
        make("c", 0, EPOCH + 3),
    ):
        store.write(record)
    assert lines_of(run("trace", "export", "--dir", "t", "--jsonl")[1]) == ["b", "a", "a", "c"]


def test_a_file_is_written_whole_or_not_at_all(folder: str, run: Run, tmp_path: Path) -> None:
    """What was there stays if it cannot be; nothing is left beside it."""
    (tmp_path / "old.jsonl").write_text("old")
    (tmp_path / "link.jsonl").symlink_to("old.jsonl")
    before = set(os.listdir(tmp_path))
    code, _, err = run("trace", "export", "--dir", folder, "--jsonl", "-o", "missing/out.jsonl")
    assert (code, err) == (2, "lee-llm-router: missing/out.jsonl cannot be written: No such file or directory\n")
    code, _, _ = run("trace", "export", "--dir", folder, "--jsonl", "-o", ".")
    assert code == 2
    assert run("trace", "export", "--dir", folder, "--jsonl", "-o", "link.jsonl")[0] == 0
    assert (tmp_path / "old.jsonl").read_bytes().count(b"\n") == len(RECORDS)
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--jsonl or --otlp"),
        (["--jsonl", "--otlp", "http://x"], "--jsonl or --otlp"),
        (["--otlp", "http://x", "-o", "f"], "it is only for --jsonl"),
        (["--jsonl", "--content"], "it is only for --otlp"),
        (["--otlp", "x"], "is not an address"),
    ],
)
def test_words_that_do_not_go_together_are_refused(run: Run, words: list[str], said: str) -> None:
    code, out, err = run("trace", "export", *words)
    assert (code, out) == (2, "")
    assert said in err
