"""What a dialect is: one vendor's wire format over HTTP and JSON. Pure: no I/O, no HTTP library.

How this works. `HTTPProvider` asks the `Dialect` of its class five things for each request, in this order:

1. `path`: where the request goes, after the base URL;
2. `headers`: how the key travels, and what else all requests with one key share (asked once a key, not once a call);
3. `encode`: the body. The provider merges `extra_body` into it and writes it down as JSON;
4. for a whole answer `decode`, or `failure` if the status is no success;
5. for a streamed one `decoder`, which turns the bytes of the body into chunks as they come.

It knows nothing of connections, timeouts and retries. `settings` is the provider's own model, a subclass of
`HTTPConfig`; what a vendor has and others have not is a field there. A new dialect is a folder beside `openai/`: its
settings, its dialect, and a provider class that names the two. What dialects share stands beside this file, and knows
no vendor: `event_reader` reads streams, `conversation` puts messages in order, `error_words` says what errors mean.
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
    """An HTTP answer, with what is needed to make sense of it."""

    status: int
    body: bytes
    """The whole body; empty where it is still to be streamed."""
    raw_headers: Sequence[tuple[bytes, bytes]] = ()
    request_bytes: int | None = None
    """Size of the request's body."""
    secrets: Sequence[str] = ()
    """Values masked in everything that is quoted."""
    now: float = 0.0
    """When the answer came: seconds since 1970-01-01 UTC."""
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The body of the request, before it was written as JSON."""
    settings: Any = field(default=None, repr=False)
    """The provider's settings by which it was asked."""
    request: LLMRequest | None = field(default=None, repr=False)
    """What was asked, before the dialect wrote it."""

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
        """Return the vendor's `text` ready for an error: no secrets, one line, at most `limit` characters."""
        return quoted(text, self.secrets, limit)


class Decoder(Protocol):
    """Turns the body of a streamed answer into chunks.

    It is fed only when `next` has nothing left to give. After the end of the body `next` returns what is left, until
    the answer is `done`, or raises. A decoder may have a method `whole_raw` beside these: it returns the vendor's
    answer, put together, for `LLMResponse.raw`; a `Deferred` if that takes long.
    """

    done: bool
    """Whether the answer has ended and is whole."""

    def feed(self, data: bytes) -> None:
        """Take the next part of the body; empty data is the end of the body.

        Raises:
            InvalidResponseError: the answer ends too early, or an event is too long.
        """
        ...

    def next(self) -> StreamChunk | None:
        """Return the next chunk; None means that more bytes are needed, or that the answer is `done`.

        Raises:
            LLMRouterError: an error came in place of a chunk.
        """
        ...


class EmbeddingDialect(Protocol[SettingsT_contra]):
    """How one wire format asks for embeddings, and gives them. Headers and failures are those of its `Dialect`."""

    def path(self, request: EmbeddingRequest, settings: SettingsT_contra) -> str:
        """Return where `request` goes, after the base URL."""
        ...

    def encode(self, request: EmbeddingRequest, texts: Sequence[str], settings: SettingsT_contra) -> dict[str, Any]:
        """Return the body that asks for the vectors of `texts`, one batch, without `extra_body`."""
        ...

    def decode(self, reply: HTTPReply, wanted: int) -> EmbeddedBatch:
        """Return the `wanted` vectors in a `reply` that is `ok`.

        Raises:
            LLMRouterError: it does not hold them.
        """
        ...


class Dialect(Protocol[SettingsT_contra]):
    """One wire format: what goes out, and how to read what comes back."""

    def path(self, request: LLMRequest, settings: SettingsT_contra, *, stream: bool) -> str:
        """Return where `request` goes, after the base URL: ``/v1/messages``.

        A model's name in it must be quoted (``urllib.parse.quote(model, safe="")``).
        """
        ...

    def headers(self, settings: SettingsT_contra, key: str | None, *, stream: bool) -> Mapping[str, str]:
        """Return the headers that all requests with `key` share: how the key travels, what is accepted.

        They replace the provider's defaults (``Accept: application/json``), and the user's replace them.

        Args:
            settings: The provider's settings.
            key: The API key; None where none is configured.
            stream: Whether the answer is asked for as a stream.
        """
        ...

    def encode(self, request: LLMRequest, settings: SettingsT_contra, *, stream: bool) -> dict[str, Any]:
        """Return the body of `request`, without `extra_body`. The model is `request.model`, else `settings.model`.

        Raises:
            InvalidRequestError: this dialect cannot express it.
        """
        ...

    def decode(self, reply: HTTPReply) -> LLMResponse:
        """Return the answer in a `reply` that is `ok`. A server may stream though nobody asked it to.

        Raises:
            LLMRouterError: it holds no whole answer.
        """
        ...

    def failure(self, reply: HTTPReply) -> LLMRouterError:
        """Return the error for a `reply` that is not `ok`."""
        ...

    def decoder(self, reply: HTTPReply, settings: SettingsT_contra) -> Decoder | None:
        """Return what reads the body of a streamed answer; None where the server did not stream.

        The provider then reads the whole body and calls `decode`. Labels may be wrong: a decoder that looks at the body
        itself can read both.

        Args:
            reply: Status and headers of an answer that is `ok`.
            settings: The provider's settings; `max_response_bytes` bounds one event too.
        """
        ...
