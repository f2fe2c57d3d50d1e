"""The contract of a dialect: one vendor's wire format over HTTP and JSON. Pure: no I/O, no HTTP library.

How this works. For each request, `HTTPProvider` calls the `Dialect` of its class in this order:

1. `path`: where the request goes, after the base URL;
2. `headers`: how the key is sent, and what else all requests with one key share (called once per key, not per call);
3. `encode`: the body. The provider merges `extra_body` into it and writes it as JSON;
4. for a whole answer `decode`, or `failure` if the status is not a success;
5. for a streamed one `decoder`, which turns the bytes of the body into chunks as they arrive.

A dialect knows nothing of connections, timeouts and retries. `settings` is the provider's own model, a subclass of
`HTTPConfig`; what only this vendor has is a field there. A new dialect is a folder next to `openai/`: its settings, its
dialect, and a provider class that names both. Modules next to this file are shared by dialects, and know no vendor:
`event_reader` reads streams, `conversation` puts messages in order, `error_words` says what errors mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, Protocol, TypeVar

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import quoted
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.embeddings import EmbeddedBatch, EmbeddingRequest
from lee_llm_router.response.types import LLMRequest, LLMResponse, StreamChunk

SettingsT_contra = TypeVar("SettingsT_contra", contravariant=True)

_STATUSES_WITHOUT_ANSWER = frozenset({204, 205, 206})


@dataclass
class HTTPReply:
    """An HTTP response, with what is needed to interpret it."""

    status: int
    body: bytes
    """The whole body; empty if it is still to be streamed."""
    raw_headers: Sequence[tuple[bytes, bytes]] = ()
    request_bytes: int | None = None
    """Size of the request's body."""
    secrets: Sequence[str] = ()
    """Values to mask in every quotation."""
    now: float = 0.0
    """When the response came: seconds since 1970-01-01 UTC."""
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The request body, before it was written as JSON."""
    settings: Any = field(default=None, repr=False)
    """The provider's settings for this request."""
    request: LLMRequest | None = field(default=None, repr=False)
    """The request, before the dialect encoded it."""

    @property
    def ok(self) -> bool:
        """Whether the status promises an answer. 204, 205 and 206 do not."""
        return 200 <= self.status < 300 and self.status not in _STATUSES_WITHOUT_ANSWER

    @cached_property
    def headers(self) -> dict[str, str]:
        """Headers with lower-case names; repeated ones joined by commas (RFC 9110, 5.3)."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def quote(self, text: str, limit: int = 300) -> str:
        """Return the vendor's `text` ready for an error message: no secrets, one line, at most `limit` characters."""
        return quoted(text, self.secrets, limit)


class Decoder(Protocol):
    """Turns the body of a streamed answer into chunks.

    The caller feeds it only when `next` has nothing left to return. After the end of the body `next` returns the rest
    until the answer is `done`, or raises. A decoder may also have a method `whole_raw`, which returns the vendor's
    complete answer for `LLMResponse.raw`; a `Deferred` if that takes long.
    """

    done: bool
    """Whether the answer has ended and is complete."""

    def feed(self, data: bytes) -> None:
        """Take the next part of the body; empty data marks its end.

        Raises:
            InvalidResponseError: the answer ends too early, or an event is too long.
        """
        ...

    def next(self) -> StreamChunk | None:
        """Return the next chunk; None means that more bytes are needed, or that the answer is `done`.

        Raises:
            LLMRouterError: an error came instead of a chunk.
        """
        ...


class EmbeddingDialect(Protocol[SettingsT_contra]):
    """How one wire format requests embeddings and returns them. Its `Dialect` provides headers and failures."""

    def path(self, request: EmbeddingRequest, settings: SettingsT_contra) -> str:
        """Return the path of `request`, after the base URL."""
        ...

    def encode(self, request: EmbeddingRequest, texts: Sequence[str], settings: SettingsT_contra) -> dict[str, Any]:
        """Return the body that requests the vectors of `texts`, one batch, without `extra_body`."""
        ...

    def decode(self, reply: HTTPReply, wanted: int) -> EmbeddedBatch:
        """Return the `wanted` vectors from a `reply` that is `ok`.

        Raises:
            LLMRouterError: it lacks them.
        """
        ...


class Dialect(Protocol[SettingsT_contra]):
    """One wire format: how to write requests and read responses."""

    def path(self, request: LLMRequest, settings: SettingsT_contra, *, stream: bool) -> str:
        """Return the path of `request`, after the base URL: ``/v1/messages``.

        Quote a model's name in it (``urllib.parse.quote(model, safe="")``).
        """
        ...

    def headers(self, settings: SettingsT_contra, key: str | None, *, stream: bool) -> Mapping[str, str]:
        """Return the headers that all requests with `key` share: the key itself, accepted types.

        They replace the provider's defaults (``Accept: application/json``), and the user's headers replace them.

        Args:
            settings: The provider's settings.
            key: The API key; None if none is configured.
            stream: Whether to request a stream.
        """
        ...

    def encode(self, request: LLMRequest, settings: SettingsT_contra, *, stream: bool) -> dict[str, Any]:
        """Return the body of `request`, without `extra_body`. The model is `request.model`, or else `settings.model`.

        Raises:
            InvalidRequestError: this dialect cannot express it.
        """
        ...

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in a `reply` that is `ok`. A server may stream even if not asked to.

        Raises:
            LLMRouterError: it holds no complete answer.
        """
        ...

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for a `reply` that is not `ok`."""
        ...

    def decoder(self, reply: HTTPReply, settings: SettingsT_contra) -> Decoder | None:
        """Return a decoder for the body of a streamed answer; None if the server did not stream.

        The provider then reads the whole body and calls `decode`. The content type may be wrong: a decoder that looks
        at the body itself can read both forms.

        Args:
            reply: Status and headers of a response that is `ok`.
            settings: The provider's settings; `max_response_bytes` also limits one event.
        """
        ...
