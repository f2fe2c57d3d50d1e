"""Access to a vendor's batch API: the provider's own connections, key and headers; waits out temporary failures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from typing import IO, Any, TypeVar

from lee_llm_router.batch.engine import BatchJob, BatchStoppedError
from lee_llm_router.batch.outage import sleep_until
from lee_llm_router.errors import FailureType, InvalidResponseError, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.providers.http.transport.api import AsyncWireStream

T = TypeVar("T")

QUESTION_SECONDS = 60.0
"""Seconds that a short request may take."""
FILE_SECONDS = 1800.0
"""Seconds that an upload or a download may take: 200 MB over a line of one megabit per second."""
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_MAX_JSON = 16_000_000
"""The most bytes of the answer to a short request."""
_PASSING = frozenset(
    {
        FailureType.RATE_LIMIT,
        FailureType.OVERLOADED,
        FailureType.UNAVAILABLE,
        FailureType.TIMEOUT,
        FailureType.PROVIDER_ERROR,
        FailureType.INVALID_RESPONSE,
    }
)


class Door:
    """Sends one provider's batch requests.

    Args:
        provider: The provider, with the key to use.
        job: The batch, which may be stopped during a wait.
    """

    def __init__(self, provider: HTTPProvider[Any], job: BatchJob) -> None:
        self.provider = provider
        self._job = job

    async def steadily(self, act: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `act`, retried while the vendor is unavailable or has no capacity.

        Raises:
            LLMRouterError: the failure is not temporary, or the batch was stopped meanwhile.
            BatchStoppedError: it lasts longer than `give_up_after`.
        """
        job, wait = self._job, _FIRST_WAIT
        began = job.clock.monotonic()
        while True:
            try:
                found = await act()
            except LLMRouterError as error:
                now = job.clock.monotonic()
                pause = max(wait, error.retry_after or 0.0)
                if error.failure_type not in _PASSING or error.final or job.is_stopped():
                    raise
                if now + pause - began > job.settings.give_up_after:
                    raise BatchStoppedError(
                        f"{self.provider.name} has not answered for {now - began:.0f} s, and the batch waits for an"
                        f" outage to end for {job.settings.give_up_after:g} s: {error.message}",
                        failure_type=error.failure_type,
                    ) from error
                job.figures.waiting_for, job.figures.waiting_seconds = error.failure_type.value, pause
                await sleep_until(job, now + pause)
                wait = min(2 * wait, _LONGEST_WAIT)
                if job.is_stopped():
                    raise
            else:
                job.figures.waiting_for = None
                return found

    async def json(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = QUESTION_SECONDS,
    ) -> dict[str, Any]:
        """Make one request, and return the object in the response.

        Args:
            method: The HTTP method.
            path: The path after the base URL.
            body: The body, sent as JSON.
            raw: The body as bytes, instead of `body`.
            headers: Headers that replace the usual ones.
            seconds: How long it may take.

        Raises:
            LLMRouterError: it failed, or the response is not an object.
        """
        sent = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        async with _Closing(await self.provider.open_other(method, path, sent, headers or {}, seconds)) as answer:
            answer.allow(seconds)
            reply = await self._good(answer)
            found = bytearray()
            while block := await answer.read():
                found += block
                if len(found) > _MAX_JSON:
                    raise InvalidResponseError("the answer about a batch is too long", final=True)
        return as_object(bytes(found), reply)

    async def _good(self, answer: AsyncWireStream) -> HTTPReply:
        """Return the parts of a response that is not a failure.

        Raises:
            LLMRouterError: it is a failure.
        """
        reply = self.provider.reply_of(answer, b"")
        if reply.ok:
            return reply
        raise self.provider.dialect.failure(self.provider.reply_of(answer, (await answer.whole()).body))

    async def file(self, path: str) -> IO[bytes]:
        """Return the file at `path`, downloaded completely into a temporary file, which the caller closes.

        Raises:
            LLMRouterError: it cannot be fetched, or it breaks off.
            BatchStoppedError: the disk is full.
        """
        stored = self._temporary()
        try:
            opened = await self.provider.open_other("GET", path, b"", {"Accept": "*/*"}, QUESTION_SECONDS)
            async with _Closing(opened) as answer:
                reply = await self._good(answer)
                answer.allow(FILE_SECONDS)
                while block := await answer.read():
                    stored.write(block)
            wanted = reply.headers.get("content-length", "")
            if wanted.isdecimal() and "content-encoding" not in reply.headers and stored.tell() < int(wanted):
                raise InvalidResponseError("a file of results breaks off")
            stored.seek(0)
        except OSError as error:
            stored.close()
            raise BatchStoppedError(f"results cannot be stored: {error.strerror}", sent=False) from error
        except BaseException:
            stored.close()
            raise
        return stored

    def _temporary(self) -> IO[bytes]:
        """Return an unnamed file in the folder of the output."""
        folder = self._job.settings.out.parent
        try:
            return tempfile.TemporaryFile(dir=folder)
        except OSError as error:
            raise BatchStoppedError(f"{folder}: results cannot be stored: {error.strerror}", sent=False) from error

    async def lines(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects in the lines of the file at `path`.

        Raises:
            LLMRouterError: it cannot be fetched, or it breaks off: what was yielded is good.
        """
        with closing(await self.file(path)) as stored:
            for line in stored:
                if line.strip():
                    try:
                        value = json.loads(line)
                    except (ValueError, RecursionError):
                        if line.endswith(b"\n"):
                            continue  # its row is missing, and is sent live
                        raise InvalidResponseError("a file of results breaks off") from None
                    if isinstance(value, dict):
                        yield value


class _Closing:
    """Closes a stream at the end."""

    def __init__(self, stream: AsyncWireStream) -> None:
        self._stream = stream

    async def __aenter__(self) -> AsyncWireStream:
        return self._stream

    async def __aexit__(self, *error: object) -> None:
        self._stream.close()


def as_object(body: bytes, reply: HTTPReply) -> dict[str, Any]:
    """Return the object in `body`.

    Raises:
        InvalidResponseError: it contains none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidResponseError("the answer about a batch is not an object", status_code=reply.status)
    return value


def text_in(found: Mapping[str, Any], name: str) -> str:
    """Return the text that a vendor's object must have under `name`.

    Raises:
        InvalidResponseError: it has none.
    """
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidResponseError(f"the answer about a batch has no {name}")
    return value


def numbers_in(found: Any) -> dict[str, int]:
    """Return the integers in a vendor's object, by name; Google writes them as text."""
    if not isinstance(found, Mapping):
        return {}
    return {
        str(name): int(value)
        for name, value in found.items()
        if isinstance(value, int | str) and str(value).isdecimal()
    }
