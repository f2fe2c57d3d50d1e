"""The `http` provider: APIs that take a JSON request and give a JSON answer over HTTP.

It puts three things together: a dialect (what is said), a transport (how it gets there) and its settings (whom to ask,
and with which key). It makes one try; the router does the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.errors import AuthenticationError, InvalidRequestError, ProviderError
from lee_llm_router.providers.base import Capabilities, ChunkStream, Provider, ProviderConfig, WholeAnswer, read_key
from lee_llm_router.providers.http.dialects.base import Decoder, Dialect, Reply, encode_json
from lee_llm_router.providers.http.event_stream import AsyncEventStream, EventStream
from lee_llm_router.providers.http.transport.address import is_loopback
from lee_llm_router.providers.http.transport.api import (
    AsyncWireStream,
    RawHeaders,
    WireRequest,
    WireResponse,
    WireStream,
)
from lee_llm_router.providers.http.transport.choice import LazyTransport, choose_transport
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.settings.fields import BaseUrl, EnvName, Integer
from lee_llm_router.settings.model import is_sensitive_header

DEFAULT_MAX_RESPONSE_BYTES = 32 * 1024 * 1024

_DIALECTS = {"openai-chat": "lee_llm_router.providers.http.dialects.openai.chat"}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A header's name (RFC 9110, 5.6.2)."""
_RESERVED = frozenset({
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers that frame the message: with others than the transport's own the two sides would misread each other."""


def _is_api_root(url: str) -> str:
    if urlsplit(url).path.endswith("/chat/completions"):
        raise PydanticCustomError("wanted_url", "leave out /chat/completions: it is added")
    return url


def _can_be_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        problem = _header_problem(name, value)
        if problem:
            raise PydanticCustomError("wanted_header", "{problem}", {"problem": problem})
    return headers


def _can_be_header(value: str) -> str:
    if _header_problem("x", value):
        raise PydanticCustomError("wanted_header", "plain letters are wanted, of the kind an HTTP header can carry")
    return value


def _is_no_stream(body: dict[str, Any]) -> dict[str, Any]:
    if "stream" in body:
        raise PydanticCustomError("reserved", "stream cannot be set here: it decides how answers are read")
    return body


HeaderText: TypeAlias = Annotated[str, AfterValidator(_can_be_header)]
_Headers: TypeAlias = dict[str, tuple[str, str]]
"""Lower-case name -> name and value."""


class HTTPConfig(ProviderConfig):
    """Settings of an `http` provider."""

    api: Literal["openai-chat"] = Field("openai-chat", description="What is spoken: OpenAI's chat completions.")
    base_url: Annotated[BaseUrl, AfterValidator(_is_api_root)] = Field(
        description="Where the API is, its version included: https://api.openai.com/v1."
    )
    api_key_env: EnvName | None = Field(
        None, description="Environment variable that holds the key, read at each attempt. Unset: no key is sent."
    )
    headers: Annotated[dict[str, str], AfterValidator(_can_be_headers)] = Field(
        default_factory=dict, description="Headers added to each request."
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_is_no_stream)] = Field(
        default_factory=dict, description="Fields merged into each request's body as they are."
    )
    organization: HeaderText | None = Field(None, description="Sent as OpenAI-Organization.")
    project: HeaderText | None = Field(None, description="Sent as OpenAI-Project.")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        None, description="The field that bounds the answer. Default: the newer name at api.openai.com, else the older."
    )
    max_response_bytes: Integer = Field(
        DEFAULT_MAX_RESPONSE_BYTES, ge=1024, description="Longest answer taken, in bytes when decompressed."
    )
    stream_usage: bool = Field(
        True, description="Ask streams for the tokens used (stream_options). Off for servers that refuse to be asked."
    )
    stream_end: Literal["done", "finish_reason"] = Field(
        "done",
        description="What ends a stream: done, the mark [DONE] after a finish reason; or finish_reason, the end of the"
        " connection after one, for servers that send no mark.",
    )
    ca_file: str | None = Field(
        None, min_length=1, description="PEM file with authorities to trust besides the usual ones."
    )
    transport: Literal["auto", "httpx", "httptools"] = Field(
        "auto",
        description="What carries the requests: httpx, httptools (the extra [fast]), or auto: what"
        " LEE_LLM_ROUTER_TRANSPORT names, else httptools where it is installed.",
    )


@dataclass(frozen=True, slots=True)
class _Head:
    """What all requests with one key have in common."""

    key: str | None = field(repr=False)
    headers: _Headers = field(repr=False)
    raw: RawHeaders = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class HTTPProvider(Provider[HTTPConfig]):
    """Asks one API over HTTP."""

    config_model: ClassVar[type[ProviderConfig]] = HTTPConfig
    capabilities: ClassVar[Capabilities] = Capabilities(tools=True, content_parts=True, bounded=True)

    def __init__(self, name: str, config: HTTPConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._dialect = cast(Dialect, import_module(_DIALECTS[config.api]))
        self._url = config.base_url + self._dialect.PATH
        self._heads: dict[bool, _Head] = {}
        self._max_tokens_field = config.max_tokens_field or _default_max_tokens_field(config.base_url)
        self._fixed_secrets = (*config.filled_values(), *_secret_values(config.headers))
        self._carrier = LazyTransport(
            config.transport, self._url, ca_file=config.ca_file, max_response_bytes=config.max_response_bytes
        )

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Ask once. `timeout` bounds everything: look-up, connection, request, answer."""
        wire, secrets = self._prepared(request)
        return self._answer(wire, secrets, self._carrier.get().send(wire, timeout))

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`."""
        wire, secrets = self._prepared(request)
        transport = await self._carrier.get_async()
        return self._answer(wire, secrets, await transport.send_async(wire, timeout))

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Ask once. `timeout` bounds the time to the answer's status and headers.

        A server that does not stream gives its whole answer, within `timeout`, as one piece.
        """
        wire, secrets = self._prepared(request, streamed=True)
        answer = self._carrier.get().open(wire, timeout)
        decoder = self._decoder(wire, secrets, answer)
        if decoder is not None:
            return EventStream(answer, decoder)
        return WholeAnswer(self._answer(wire, secrets, answer.whole()))

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`."""
        wire, secrets = self._prepared(request, streamed=True)
        answer = await (await self._carrier.get_async()).open_async(wire, timeout)
        decoder = self._decoder(wire, secrets, answer)
        if decoder is not None:
            return AsyncEventStream(answer, decoder)
        return WholeAnswer(self._answer(wire, secrets, await answer.whole()))

    def secrets(self) -> Iterable[str]:
        """The key, as the environment has it now; what the settings took from there; what headers hold of the kind."""
        key = os.environ.get(self.config.api_key_env or "", "").strip()
        return (*((key,) if key else ()), *self._fixed_secrets)

    def close(self) -> None:
        """Close idle connections now, busy ones when they are done. Needs no event loop."""
        self._carrier.close()

    def check(self) -> Iterator[tuple[Literal["ok", "warning", "error"], str]]:
        """Whether the key is there, the file of authorities can be read, and the key travels encrypted."""
        config = self.config
        parts = urlsplit(config.base_url)
        if config.api_key_env is None:
            yield "ok", f"{parts.netloc} is asked without a key"
        else:
            try:
                read_key(config.api_key_env, self.name)
                yield "ok", f"environment variable {config.api_key_env} is set"
            except AuthenticationError as error:
                yield "error", error.message
        has_key = config.api_key_env is not None or any(map(is_sensitive_header, config.headers))
        if has_key and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield "warning", f"the key goes to {parts.netloc} unencrypted: use https"
        if config.ca_file is not None and not Path(config.ca_file).is_file():
            yield "error", f"ca_file {config.ca_file} does not exist"
        try:
            yield "ok", f"requests are carried by {choose_transport(config.transport, self._url)}"
        except ProviderError as error:
            yield "error", error.message

    def _prepared(self, request: LLMRequest, streamed: bool = False) -> tuple[WireRequest, tuple[str, ...]]:
        """What goes out, and the secrets in it."""
        config = self.config
        key = None if config.api_key_env is None else read_key(config.api_key_env, self.name)
        head = self._heads.get(streamed)
        if head is None or head.key != key:
            head = self._heads[streamed] = self._head(key, streamed)
        raw, secrets = head.raw, head.secrets
        if request.headers:
            raw = _raw({**head.headers, **_checked_headers(request.headers)})
            secrets = (*secrets, *_secret_values(request.headers))
        return WireRequest(self._url, raw, encode_json(self._encoded(request, streamed))), secrets

    def _encoded(self, request: LLMRequest, streamed: bool) -> dict[str, Any]:
        config = self.config
        extra = {**config.extra_body, **request.extra_body} if request.extra_body else config.extra_body
        body = self._dialect.encode(request, request.model or config.model, self._max_tokens_field, extra)
        return self._dialect.streamed(body, config.stream_usage) if streamed else body

    def _head(self, key: str | None, streamed: bool) -> _Head:
        headers = _fixed_headers(self.config, "text/event-stream, application/json" if streamed else "application/json")
        if key is None:
            return _Head(key, headers, _raw(headers), self._fixed_secrets)
        headers = {"authorization": ("Authorization", f"Bearer {key}"), **headers}
        return _Head(key, headers, _raw(headers), (key, *self._fixed_secrets))

    def _decoder(
        self, wire: WireRequest, secrets: tuple[str, ...], answer: WireStream | AsyncWireStream
    ) -> Decoder | None:
        """What reads the events of `answer`; None if it has none: it failed, or the server did not stream."""
        reply = Reply(answer.status, b"", answer.raw_headers, len(wire.body), secrets, self.clock.time())
        kind = reply.headers.get("content-type", "").lower()
        if not reply.ok or "json" in kind or "html" in kind:
            return None
        return self._dialect.decoder(reply, self.config.max_response_bytes, self.config.stream_end == "done")

    def _answer(self, wire: WireRequest, secrets: tuple[str, ...], answer: WireResponse) -> LLMResponse:
        now = self.clock.time()
        reply = Reply(answer.status, answer.body, answer.raw_headers, len(wire.body), secrets, now)
        if not reply.ok:
            raise self._dialect.failure(reply)
        return self._dialect.decode(reply)


def _fixed_headers(config: HTTPConfig, accept: str) -> _Headers:
    """What every request carries besides the key. The user's come last, and win."""
    headers = {"Content-Type": "application/json", "Accept": accept, "User-Agent": "lee-llm-router"}
    if config.organization:
        headers["OpenAI-Organization"] = config.organization
    if config.project:
        headers["OpenAI-Project"] = config.project
    return {**_checked_headers(headers), **_checked_headers(config.headers)}


def _checked_headers(headers: Mapping[str, str]) -> _Headers:
    checked = {}
    for name, value in headers.items():
        problem = _header_problem(name, value)
        if problem:
            raise InvalidRequestError(problem, sent=False)
        checked[name.lower()] = (name, value.strip())
    return checked


def _header_problem(name: Any, value: Any) -> str | None:
    """What is wrong with a header, without its value: it may be a key."""
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return f"{name!r:.60} is no name for an HTTP header"
    if name.lower() in _RESERVED:
        return f"the header {name} cannot be set: it is worked out for each request"
    if not isinstance(value, str) or not (value.isprintable() and value.isascii()):
        return f"the header {name} holds characters no HTTP header can carry"
    return None


def _secret_values(headers: Mapping[str, str]) -> Iterator[str]:
    """Values of headers whose name sounds like a secret; of "Bearer abc" the second word too."""
    for name, value in headers.items():
        if is_sensitive_header(name):
            yield value.strip()
            yield from value.split()[1:]


def _raw(headers: _Headers) -> RawHeaders:
    # A tuple: what a transport makes of it is kept.
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in headers.values())


def _default_max_tokens_field(base_url: str) -> str:
    return "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"
