"""Sends spans to a receiver of OpenTelemetry's protocol, over HTTP: in compressed batches, with retries if it is busy.

A batch consists of whole calls. If the receiver says that a batch is too large, it is halved. If the receiver is
unreachable or stays busy, sending ends with an error that says how far it came; because of stable ids, sending a call
twice does no harm.
"""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.numbers import MAX_COUNT
from lee_llm_router._util.scrubbing import quoted
from lee_llm_router.errors import ConfigError, LLMRouterError, ProviderError
from lee_llm_router.providers.http.dialects.waits import retry_after
from lee_llm_router.providers.http.transport.api import WireRequest, WireResponse
from lee_llm_router.providers.http.transport.choice import LazyTransport
from lee_llm_router.telemetry.calls import TracedCall
from lee_llm_router.telemetry.otlp import request_body, spans_of
from lee_llm_router.telemetry.record_json import json_object, json_text

if TYPE_CHECKING:
    from collections.abc import Callable

TRACES_PATH = "/v1/traces"
_MOST_SPANS = 512
_MOST_BYTES = 2_000_000
"""Spans, and bytes of JSON, at which a batch is sent."""
_TRIES = 6
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 120.0
"""The longest wait in seconds that a receiver may ask for."""
_BUSY = (429, 502, 503, 504)
"""Statuses that ask for a retry, according to the protocol."""
_TOO_LARGE = 413
_SECONDS = 30.0
"""Seconds that a request may take."""
_LONGEST_ANSWER = 1_000_000


@dataclass(slots=True)
class SentSpans:
    """What has been sent so far."""

    calls: int = 0
    spans: int = 0
    rejected: int = 0
    """Spans that the receiver rejected."""
    left_out: int = 0
    """Calls without a start time, and those too large for the receiver."""
    message: str = ""
    """The receiver's last message with an accepted or partly accepted batch."""
    reached: datetime | None = None
    """When the call sent last had ended: if the newest go first, unsent ones began earlier."""


class OtlpSender:
    """Sends calls to one receiver.

    Args:
        url: The receiver's address: ``http://localhost:4318``, or with the path ``/v1/traces``.
        environment: OpenTelemetry's variables: headers and others.
        version: The version of this library.
        content: Whether to send captured prompts and answers.
        clock: Waits between tries.

    Raises:
        ConfigError: the address or a variable cannot be used.
    """

    def __init__(
        self,
        url: str,
        environment: Mapping[str, str] = os.environ,
        *,
        version: str,
        content: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.sent = SentSpans()
        self._url, credentials = _endpoint(url)
        self._headers = _headers(environment, credentials)
        self._compresses = _variable(environment, "COMPRESSION") != "none"
        self._resource = _resource(environment)
        self._secrets = tuple(value.decode("latin-1") for name, value in self._headers if name not in _OWN_HEADERS)
        self._version, self._content, self._clock = version, content, clock
        self._transport = LazyTransport(
            "auto", self._url, ca_file=_variable(environment, "CERTIFICATE"), max_response_bytes=_LONGEST_ANSWER
        )

    def send(self, calls: Iterable[TracedCall], progress: Callable[[int], None] | None = None) -> SentSpans:
        """Send `calls`, and return what was sent.

        Args:
            calls: The calls, the newest first.
            progress: Called with the number of calls in each sent batch.

        Raises:
            LLMRouterError: the receiver is unreachable, or refuses; `sent` has what it accepted before.
        """
        batch: list[tuple[TracedCall, list[bytes]]] = []
        spans = size = 0
        try:
            for call in calls:
                lines = [json_text(span) for span in spans_of(call, content=self._content)]
                if not lines:
                    self.sent.left_out += 1
                    continue
                batch.append((call, lines))
                spans, size = spans + len(lines), size + sum(map(len, lines))
                if spans >= _MOST_SPANS or size >= _MOST_BYTES:
                    self._send_batch(batch, progress)
                    batch, spans, size = [], 0, 0
            self._send_batch(batch, progress)
        finally:
            self._transport.close()
        return self.sent

    def _send_batch(self, batch: list[tuple[TracedCall, list[bytes]]], progress: Callable[[int], None] | None) -> None:
        if not batch:
            return
        lines = [line for _, spans in batch for line in spans]
        answer = self._answer(request_body(lines, self._resource, self._version))
        if answer.status == _TOO_LARGE:
            if len(batch) == 1:
                self.sent.left_out += 1
                return
            middle = len(batch) // 2
            self._send_batch(batch[:middle], progress)
            self._send_batch(batch[middle:], progress)
            return
        self._note(answer)
        self.sent.calls += len(batch)
        self.sent.spans += len(lines)
        last = batch[-1][0]
        if last.started is not None:
            self.sent.reached = _later(last.started, last.total_ms)
        if progress is not None:
            progress(len(batch))

    def _answer(self, body: bytes) -> WireResponse:
        """Return the receiver's response: it accepted the spans, or they are too large.

        Raises:
            LLMRouterError: it did not accept them.
        """
        if self._compresses:
            body = gzip.compress(body, 5, mtime=0)
        request = WireRequest(self._url, tuple(self._headers), body)
        wait = _FIRST_WAIT
        for remaining in reversed(range(_TRIES)):
            named: float | None = None
            try:
                answer = self._transport.get().send(request, _SECONDS)
            except LLMRouterError as error:
                # A receiver that was never reachable is reported at once; one that goes away meanwhile may come back.
                if not remaining or error.final or not self.sent.calls:
                    raise
            else:
                if 200 <= answer.status < 300 or answer.status == _TOO_LARGE:
                    return answer
                if answer.status not in _BUSY or not remaining:
                    raise ProviderError(self._refusal(answer), status_code=answer.status)
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.raw_headers
                }
                named = retry_after(headers, self._clock.time())
            self._clock.sleep(min(_LONGEST_WAIT, wait if named is None else named))
            wait *= 2
        raise AssertionError  # the last try has returned or raised

    def _refusal(self, answer: WireResponse) -> str:
        said = quoted(_message(answer.body), self._secrets, 300)
        place = urlsplit(self._url)
        return f"{place.scheme}://{place.netloc} answered {answer.status}" + (f": {said}" if said else "")

    def _note(self, answer: WireResponse) -> None:
        """Record what the receiver rejected of a batch that it accepted (``partialSuccess``)."""
        try:
            partial = json_object(answer.body).get("partialSuccess")
        except ValueError:
            return  # nothing, or the binary form
        if not isinstance(partial, dict):
            return
        text = str(partial.get("rejectedSpans") or 0)
        number = int(text) if text.isdecimal() and len(text) < 20 else 0
        self.sent.rejected += min(number, MAX_COUNT)
        if isinstance(partial.get("errorMessage"), str):
            self.sent.message = quoted(partial["errorMessage"], self._secrets, 300) or self.sent.message


_OWN_HEADERS = (b"Content-Type", b"Content-Encoding", b"User-Agent")


def _endpoint(url: str) -> tuple[str, str | None]:
    """Return the address to post spans to, and the part of it before ``@``.

    Raises:
        ConfigError: it is not an HTTP address.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{quoted(url, limit=200)!r} is not an address like http://localhost:4318", sent=False)
    credentials, _, host = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/")
    path = path if path.endswith(TRACES_PATH) else path + TRACES_PATH
    return urlunsplit((parts.scheme, host, path, parts.query, "")), credentials or None


def _headers(environment: Mapping[str, str], credentials: str | None) -> list[tuple[bytes, bytes]]:
    found = {"Content-Type": "application/json", "User-Agent": "lee-llm-router"}
    if _variable(environment, "COMPRESSION") != "none":
        found["Content-Encoding"] = "gzip"
    if credentials is not None:
        found["Authorization"] = "Basic " + base64.b64encode(unquote(credentials).encode()).decode()
    found.update(_pairs(_variable(environment, "HEADERS") or "", "OTEL_EXPORTER_OTLP_HEADERS"))
    try:
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in found.items()]
    except UnicodeEncodeError:
        raise ConfigError(
            "OTEL_EXPORTER_OTLP_HEADERS holds characters that no header may contain", sent=False
        ) from None


def _resource(environment: Mapping[str, str]) -> dict[str, str]:
    found = {"service.name": "lee-llm-router"}
    found.update(_pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", ""), "OTEL_RESOURCE_ATTRIBUTES"))
    if environment.get("OTEL_SERVICE_NAME"):
        found["service.name"] = environment["OTEL_SERVICE_NAME"]
    return found


def _variable(environment: Mapping[str, str], name: str) -> str | None:
    """Return the value of the exporters' variable, for traces or for all signals; None if it is not set."""
    return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environment.get(f"OTEL_EXPORTER_OTLP_{name}") or None


def _pairs(text: str, variable: str) -> list[tuple[str, str]]:
    """Return the pairs in ``name=value,other=value``, whose values are encoded as in a URL.

    Raises:
        ConfigError: it has another form. The message omits the value, which may be a key.
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{variable} must be name=value pairs separated by commas", sent=False)
        found.append((unquote(name.strip()), unquote(value.strip())))
    return found


def _message(body: bytes) -> str:
    """Return the message in a response: its `message`, if it is JSON."""
    try:
        found = json_object(body).get("message")
    except ValueError:
        found = None
    return found if isinstance(found, str) else body[:2000].decode(errors="replace")


def _later(moment: datetime, milliseconds: float) -> datetime:
    try:
        return moment + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return moment
