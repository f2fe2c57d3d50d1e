"""The base of all providers that speak HTTP and JSON: combines a dialect, a transport and settings.

How this works. The dialect (a class attribute) says where a request goes, how the key is sent and what is in the body,
and reads the response; see `dialects/base.py`. The transport carries bytes within a time limit; see `transport/api.py`.
The settings name the server and the key. This class joins the three, and nothing in it is specific to one vendor:

- `_asked` turns a request into bytes. What all requests with one key share (headers, secrets) is computed once per key,
  in `_KeyHeaders`; the body is encoded anew each time.
- `complete` sends the bytes, reads the whole response and has the dialect decode it.
- `stream` opens the response, and returns an `EventStream` if the dialect has a decoder for it. If the server failed or
  did not stream, it reads and decodes the whole body, and returns it as one chunk.

It makes one attempt; the router retries. The key is read at each attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import field, replace
from typing import Any, ClassVar, Literal, TypeVar

from lee_llm_router._util.answer_headers import AnswerHeaders
from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.masked_text import values_used
from lee_llm_router._util.scrubbing import is_sensitive_header, secrets_in
from lee_llm_router.errors import InvalidRequestError, LLMRouterError, LLMTimeoutError, UnavailableError
from lee_llm_router.providers.base import Capabilities, Provider, ProviderConfig
from lee_llm_router.providers.embeddings import EmbeddedBatch, EmbeddingRequest, EmbeddingResponse
from lee_llm_router.providers.http.dialects.base import Decoder, Dialect, EmbeddingDialect, HTTPReply
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.providers.http.event_stream import AsyncEventStream, EventStream
from lee_llm_router.providers.http.headers import (
    CheckedHeaders,
    checked_headers,
    raw_headers,
    secret_values,
    sendable_headers,
)
from lee_llm_router.providers.http.query import query_of, query_text, secret_query_values
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.providers.http.transport.api import (
    AsyncWireStream,
    RawHeaders,
    WireRequest,
    WireResponse,
    WireStream,
)
from lee_llm_router.providers.http.transport.choice import LazyTransport
from lee_llm_router.providers.keys import KeySource
from lee_llm_router.providers.streams import ChunkStream, SingleChunkStream
from lee_llm_router.response.types import LLMRequest, LLMResponse, with_headers
from lee_llm_router.telemetry.outgoing_headers import headers_along

SettingsT = TypeVar("SettingsT", bound=HTTPConfig)

_DEFAULT_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "lee-llm-router"}


@dataclass(frozen=True, slots=True)
class _KeyHeaders:
    """What all requests with one key share."""

    key: str | None = field(repr=False)
    headers: CheckedHeaders = field(repr=False)
    raw: RawHeaders = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(slots=True)
class Asked:
    """One request in flight, with what is needed to read its response."""

    request: Any
    settings: Any
    wire: WireRequest
    secrets: tuple[str, ...]
    body: dict[str, Any]


class HTTPProvider(Provider[SettingsT]):
    """Asks one API over HTTP. A subclass names its `dialect` and its `config_model`, a subclass of `HTTPConfig`.

    A dialect that cannot carry tools or parts other than text sets `capabilities` as well.
    """

    dialect: ClassVar[Dialect[Any]]
    embedding_dialect: ClassVar[EmbeddingDialect[Any] | None] = None
    """How its API gives embeddings; None if it gives none."""
    config_model: ClassVar[type[ProviderConfig]] = HTTPConfig
    capabilities: ClassVar[Capabilities] = Capabilities(tools=True, content_parts=True, bounded=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        gives = cls.embedding_dialect is not None
        if gives and not cls.capabilities.embeddings:
            cls.capabilities = replace(cls.capabilities, embeddings=True)

    def __init__(self, name: str, config: SettingsT, clock: Clock = SYSTEM_CLOCK) -> None:
        if not hasattr(type(self), "dialect"):
            raise TypeError(f"{type(self).__name__} names no dialect: chat completions are OpenAIChatProvider's")
        super().__init__(name, config, clock)
        self._key_headers: dict[bool, _KeyHeaders] = {}
        """For whole answers (False) and for streams (True)."""
        self._key_source = KeySource(config, name)
        self._query = query_text(config.query)
        self._fixed_secrets = (
            *config.filled_values(),
            *secret_values(config.headers),
            *secret_query_values(config.query, config.filled_values()),
        )
        self._carrier = LazyTransport(
            config.transport,
            config.base_url,
            ca_file=config.ca_path,
            trust=config.trust,
            max_response_bytes=config.max_response_bytes,
        )

    def with_settings(self, config: SettingsT) -> HTTPProvider[SettingsT]:
        """As `Provider.with_settings`. Shares connections, and what models have taught."""
        other = copy(self)
        other.config, other._key_source, other._key_headers = config, KeySource(config, self.name), {}
        return other

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Ask once. `timeout` bounds everything: name lookup, connection, request, response."""
        asked = self._asked(request, stream=False)
        return self._answer(asked, self._carrier.get().send(asked.wire, timeout))

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`."""
        asked = self._asked(request, stream=False)
        transport = await self._carrier.get_async()
        return self._answer(asked, await transport.send_async(asked.wire, timeout))

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Ask once. `timeout` bounds the time until status and headers arrive.

        A server that does not stream returns its whole answer as one chunk, within `timeout`.
        """
        asked = self._asked(request, stream=True)
        answer = self._carrier.get().open(asked.wire, timeout)
        decoder = self._decoder(asked, answer)
        if decoder is not None:
            return EventStream(answer, decoder, AnswerHeaders(answer.raw_headers, asked.secrets))
        return SingleChunkStream(self._answer(asked, answer.whole()))

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`."""
        asked = self._asked(request, stream=True)
        answer = await (await self._carrier.get_async()).open_async(asked.wire, timeout)
        decoder = self._decoder(asked, answer)
        if decoder is not None:
            return AsyncEventStream(answer, decoder, AnswerHeaders(answer.raw_headers, asked.secrets))
        return SingleChunkStream(self._answer(asked, await answer.whole()))

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """Ask once for each batch. `timeout` bounds all of them."""
        until = self.clock.monotonic() + timeout
        for texts in request.batches(self.config.embedding_batch):
            asked = self._asked_embeddings(request, texts)
            answer = self._carrier.get().send(asked.wire, self._left(until))
            request.done.append(self._batch(asked, answer, len(texts)))
        return request.response()

    async def embed_async(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """As `embed`."""
        until = self.clock.monotonic() + timeout
        for texts in request.batches(self.config.embedding_batch):
            asked = self._asked_embeddings(request, texts)
            answer = await (await self._carrier.get_async()).send_async(asked.wire, self._left(until))
            request.done.append(self._batch(asked, answer, len(texts)))
        return request.response()

    def secrets(self) -> Iterable[str]:
        """Return the key as it is in the environment now, other values from there, and the values of secret headers."""
        return (*self._key_source.known(), *self._fixed_secrets)

    def close(self) -> None:
        """Close idle connections now, busy ones when they are done. Needs no event loop."""
        self._carrier.close()

    def check(self) -> Iterator[tuple[Literal["ok", "warning", "error"], str]]:
        """As `Provider.check`: checks the key, the trusted authorities, and the proxy."""
        from lee_llm_router.providers.http.checks import check_http  # noqa: PLC0415 - only the doctor needs it

        yield from check_http(self.config, self._key_source)

    def batch_api(self) -> str | None:
        """Return the name of the vendor's batch API, as `batch/vendor/` knows it; None if there is none."""
        return None

    def models_path(self) -> str | None:
        """Return the path of the API's list of models, after the base URL; None if it has none."""
        return "/models"

    def look_at(self, path: str, timeout: float, *, with_key: bool = True) -> HTTPReply:
        """Return the server's response to a GET of `path`, whatever its status. Only the doctor uses this.

        Args:
            path: The path after the base URL.
            timeout: Seconds of wall-clock time this may take.
            with_key: Send the key, and the headers that may hold one.

        Raises:
            LLMRouterError: there is no key, no connection, or no response.
        """
        config = self.config
        if with_key:
            shared = self._headers_for_key(stream=False)
            raw, secrets = shared.raw, shared.secrets
        else:
            plain = {name: value for name, value in config.headers.items() if not is_sensitive_header(name)}
            raw = raw_headers(checked_headers({**_DEFAULT_HEADERS, **plain}))
            secrets = tuple(self.secrets())
        answer = self._carrier.get().send(WireRequest(self._url_of(path), raw, b"", "GET"), timeout)
        return HTTPReply(answer.status, answer.body, answer.raw_headers, 0, secrets, self.clock.time(), {}, config)

    def body_of(self, request: LLMRequest) -> tuple[str, dict[str, Any]]:
        """Return the path of `request` after the base URL, and the body that asks for a whole answer.

        Raises:
            LLMRouterError: the body cannot be written, or there is no key.
        """
        asked = self._asked(request, stream=False)
        return self.dialect.path(request, self.config, stream=False), asked.body

    def answer_of(self, request: LLMRequest, status: int, body: bytes) -> LLMResponse:
        """Return the answer to `request` that came another way than by `complete`: in a batch's result file.

        Args:
            request: What was asked.
            status: The status that it would have had.
            body: The body that it would have had.

        Raises:
            LLMRouterError: it is a failure, or no complete answer.
        """
        return self._answer(self._asked(request, stream=False), WireResponse(status, (), body))

    async def open_other(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> AsyncWireStream:
        """Send a request that is not for a model, and return the response, whatever its status.

        Args:
            method: The HTTP method.
            path: What follows the base URL.
            body: The body.
            headers: Headers that replace the usual ones of the same name.
            timeout: Seconds of wall-clock time until status and headers must have arrived.

        Raises:
            LLMRouterError: there is no key, no connection, or no response.
        """
        raw = raw_headers({**self._headers_for_key(stream=False).headers, **checked_headers(headers)})
        transport = await self._carrier.get_async()
        return await transport.open_async(WireRequest(self._url_of(path), raw, body, method), timeout)

    def reply_of(self, answer: AsyncWireStream, body: bytes) -> HTTPReply:
        """Return the response of `open_other`, with its `body`, in the form that a dialect reads."""
        secrets = self._headers_for_key(stream=False).secrets
        return HTTPReply(answer.status, body, answer.raw_headers, None, secrets, self.clock.time(), {}, self.config)

    def _url_of(self, path: str) -> str:
        """Return the URL of `path`, with the parameters of the settings."""
        url = self.config.base_url + path
        return url + ("&" if "?" in url else "?") + self._query if self._query else url

    def add_extra(self, body: dict[str, Any], extra: Mapping[str, Any]) -> None:
        """Merge `extra_body` into the `body` of a request. By default, its fields replace the dialect's."""
        body.update(extra)

    def failure(self, request: LLMRequest, settings: SettingsT, reply: HTTPReply) -> LLMRouterError:  # noqa: ARG002
        """Return the error for a failed `reply`: by default, the dialect's.

        An override that learns from it sets `ask_again`.

        Args:
            request: What was asked.
            settings: What `settings_for` returned for it.
            reply: The response.
        """
        return self.dialect.failure(reply)

    def _asked(self, request: LLMRequest, *, stream: bool) -> Asked:
        """Return `request` as bytes, with what is needed to read the response."""
        settings = self.settings_for(request)
        path = self.dialect.path(request, self.config, stream=stream)
        try:
            body = self.dialect.encode(request, settings, stream=stream)
        except LLMRouterError:
            raise
        except Exception as error:  # messages, tools and schemas may hold anything, to any depth
            reason = f"the request cannot be written ({type(error).__name__})"
            raise InvalidRequestError(reason, sent=False) from error
        return self._written(request, settings, path, body, stream)

    def _written(
        self, request: LLMRequest | EmbeddingRequest, settings: Any, path: str, body: dict[str, Any], stream: bool
    ) -> Asked:
        """Return the request as bytes: the `body` that a dialect has made, with the user's additions."""
        config = self.config
        shared = self._headers_for_key(stream=stream)
        raw, secrets, along = shared.raw, shared.secrets, headers_along()
        if request.headers or along:
            raw = raw_headers({**sendable_headers(along), **shared.headers, **checked_headers(request.headers)})
            secrets = (*secrets, *secret_values(request.headers))
        if request.extra_body:
            secrets = (*secrets, *values_used(request.extra_body), *secrets_in(request.extra_body))
        url = config.base_url + path
        query = self._query
        if request.extra_query:
            query = query_of({**config.query, **request.extra_query})
            secrets = (*secrets, *secret_query_values(request.extra_query, config.filled_values()))
        if query:
            url += ("&" if "?" in url else "?") + query
        for extra in (config.extra_body, request.extra_body):
            if extra:
                self.add_extra(body, extra)
        return Asked(request, settings, WireRequest(url, raw, encode_json(body)), secrets, body)

    def _asked_embeddings(self, request: EmbeddingRequest, texts: Sequence[str]) -> Asked:
        """Return the request for the vectors of `texts`."""
        dialect = self.embedding_dialect
        if dialect is None:
            raise UnavailableError("this API has no embeddings", sent=False)
        body = dialect.encode(request, texts, self.config)
        return self._written(request, self.config, dialect.path(request, self.config), body, stream=False)

    def _batch(self, asked: Asked, answer: WireResponse, wanted: int) -> EmbeddedBatch:
        assert self.embedding_dialect is not None  # noqa: S101 - it has written the request
        reply = self._reply(asked, answer, answer.body)
        headers = AnswerHeaders(answer.raw_headers, asked.secrets)
        try:
            if not reply.ok:
                raise self.dialect.failure(reply)
            return replace(self.embedding_dialect.decode(reply, wanted), headers=headers)
        except LLMRouterError as error:
            error.headers = headers
            raise

    def _left(self, until: float) -> float:
        """Return the seconds left until `until`; raise if there are none."""
        left = until - self.clock.monotonic()
        if left <= 0:
            raise LLMTimeoutError("the time is up, but not all texts are embedded")
        return left

    def _headers_for_key(self, *, stream: bool) -> _KeyHeaders:
        """Return what requests with the current key share; computed again when the key changes."""
        config = self.config
        key = self._key_source.read()
        known = self._key_headers.get(stream)
        if known is not None and known.key == key:
            return known
        headers = {
            **checked_headers(_DEFAULT_HEADERS),
            **checked_headers(self.dialect.headers(config, key, stream=stream)),
            **checked_headers(config.headers),
        }
        secrets = self._fixed_secrets if key is None else (key, *self._fixed_secrets)
        known = self._key_headers[stream] = _KeyHeaders(key, headers, raw_headers(headers), secrets)
        return known

    def _decoder(self, asked: Asked, answer: WireStream | AsyncWireStream) -> Decoder | None:
        """Return what reads the events of `answer`; None if it has none, because it failed or the server did not
        stream."""
        reply = self._reply(asked, answer, b"")
        return self.dialect.decoder(reply, self.config) if reply.ok else None

    def _answer(self, asked: Asked, answer: WireResponse) -> LLMResponse:
        reply = self._reply(asked, answer, answer.body)
        headers = AnswerHeaders(answer.raw_headers, asked.secrets)
        try:
            if not reply.ok:
                raise self.failure(asked.request, asked.settings, reply)
            return with_headers(self.dialect.decode(reply), headers)
        except LLMRouterError as error:
            error.headers = headers
            raise

    def _reply(self, asked: Asked, answer: WireResponse | WireStream | AsyncWireStream, body: bytes) -> HTTPReply:
        now, size = self.clock.time(), len(asked.wire.body)
        return HTTPReply(answer.status, body, answer.raw_headers, size, asked.secrets, now, asked.body, asked.settings,
                         asked.request)  # fmt: skip
