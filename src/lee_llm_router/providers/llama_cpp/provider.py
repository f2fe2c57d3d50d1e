"""The provider type `llama_cpp`: a model in this process, from a GGUF file, with no server and no network.

How this works. `shared_model` keeps the model and loads it on first use; `model_call` runs one request in a thread;
only `native` imports xllamacpp. Requests and answers have the same form as over HTTP with llama.cpp's server, so the
dialect of chat completions writes and reads them. Every request asks for a stream, since only a stream can be stopped;
this module merges the chunks if the caller wants a whole answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from math import hypot
from pathlib import Path
from typing import ClassVar, Literal

from pydantic_core import from_json, to_json

from lee_llm_router._util.answer_headers import NO_HEADERS
from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.masked_text import values_used
from lee_llm_router._util.scrubbing import secrets_in
from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router.errors import InvalidRequestError, LLMRouterError, ModelNotFoundError, ProviderError
from lee_llm_router.providers.base import Capabilities, Provider, ProviderConfig
from lee_llm_router.providers.embeddings import EmbeddedBatch, EmbeddingRequest, EmbeddingResponse, Vector
from lee_llm_router.providers.http.dialects.base import Decoder, HTTPReply
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.embeddings import OpenAIEmbeddings
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.structured_output import with_instructions
from lee_llm_router.providers.http.event_stream import AsyncEventStream, EventStream
from lee_llm_router.providers.http.transport.api import WireResponse
from lee_llm_router.providers.llama_cpp.gguf import GGUFError, read_header
from lee_llm_router.providers.llama_cpp.machine import usable_cores
from lee_llm_router.providers.llama_cpp.model_call import Answer, AsyncAnswer, EmbeddingCall, ModelCall
from lee_llm_router.providers.llama_cpp.native import LoadSettings
from lee_llm_router.providers.llama_cpp.requests import finished_body
from lee_llm_router.providers.llama_cpp.settings import LlamaCppConfig
from lee_llm_router.providers.llama_cpp.shared_model import SharedModel, claim, release
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response.types import LLMRequest, LLMResponse

_DIALECT = ChatDialect()
_EMBEDDINGS = OpenAIEmbeddings()
_EMBEDDING_BATCH = 8
"""Texts to embed in one call, which cannot be stopped before its end."""
_CAPABILITIES = Capabilities(tools=True, bounded=True, hedged=False)
_WITH_EMBEDDINGS = replace(_CAPABILITIES, embeddings=True)
_MAX_REMEMBERED = 1000
"""JSON Schemas to remember; bounded, since a caller may pass any."""


@dataclass(slots=True)
class _Asked:
    """One request in flight, with what is needed to read its answer."""

    call: ModelCall
    reply: HTTPReply
    schema: str | None
    """The JSON Schema for llama.cpp to enforce, as text; None if there is none."""


class LlamaCppProvider(Provider[LlamaCppConfig]):
    """Uses a model in this process."""

    config_model: ClassVar[type[ProviderConfig]] = LlamaCppConfig
    inexpressible: ClassVar[Mapping[str, str]] = {
        "service_tier": "a model in this process has no tiers",
        "extra_query": "nothing goes over HTTP",
    }

    def __init__(self, name: str, config: LlamaCppConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._secrets = config.filled_values()
        self._unheld: set[str] = set()
        """JSON Schemas that llama.cpp cannot turn into a grammar."""
        self._lock = ForkLock()
        self._model: SharedModel | None = None
        self._no_path: LLMRouterError | None = None
        try:
            settings = load_settings_of(config)
        except OSError as error:
            self._no_path = ModelNotFoundError(f"{config.model_path}: {error.strerror}", final=True, sent=False)
        else:
            self._model = claim(settings)

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: LlamaCppConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`; includes tools if the model's template does not support them."""
        found = super().unsupported(request, settings)
        if request.tools and not _takes_tools(settings):
            return {**found, "tools": "the model's chat template has no place for tools"}
        return found

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Ask once. `timeout` bounds everything, including the loading of the model."""
        asked = self._asked(request)
        answer = Answer(asked.call)
        with self._begun(asked, answer, timeout):
            answer.open()
            self._check(asked, answer)
            return self._response(asked, answer.whole())

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`."""
        asked = self._asked(request)
        answer = AsyncAnswer(asked.call)
        with self._begun(asked, answer, timeout):
            await answer.open()
            self._check(asked, answer)
            return self._response(asked, await answer.whole())

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Ask once. `timeout` bounds the time until the model begins to read the prompt."""
        asked = self._asked(request)
        answer = Answer(asked.call)
        with self._begun(asked, answer, timeout):
            answer.open()
            self._check(asked, answer)
        return EventStream(answer, self._decoder(asked), NO_HEADERS)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`."""
        asked = self._asked(request)
        answer = AsyncAnswer(asked.call)
        with self._begun(asked, answer, timeout):
            await answer.open()
            self._check(asked, answer)
        return AsyncEventStream(answer, self._decoder(asked), NO_HEADERS)

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """What the model can do, according to the settings."""
        return _WITH_EMBEDDINGS if self.config.embeddings else _CAPABILITIES

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """Ask once for each batch. `timeout` bounds all of them."""
        until = self.clock.monotonic() + timeout
        for texts in request.batches(_EMBEDDING_BATCH):
            asked = self._asked_embeddings(request, texts)
            answer = Answer(asked.call)
            with self._begun(asked, answer, until - self.clock.monotonic()):
                answer.open()
                self._check(asked, answer)
            request.done.append(self._batch(asked, answer, request, len(texts)))
        return request.response()

    async def embed_async(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """As `embed`."""
        until = self.clock.monotonic() + timeout
        for texts in request.batches(_EMBEDDING_BATCH):
            asked = self._asked_embeddings(request, texts)
            answer = AsyncAnswer(asked.call)
            with self._begun(asked, answer, until - self.clock.monotonic()):
                await answer.open()
                self._check(asked, answer)
            request.done.append(self._batch(asked, answer, request, len(texts)))
        return request.response()

    def secrets(self) -> Iterable[str]:
        """As `Provider.secrets`, with the values filled into requests."""
        return self._secrets

    def close(self) -> None:
        """Give the model back. If no other provider uses it, stop its calls and free it."""
        with self._lock:
            model, self._model = self._model, None
        if model is not None:
            release(model)

    async def aclose(self) -> None:
        """As `close`, in a thread: it may have to wait for calls."""
        await call_in_thread_async(self.close)

    def check(self) -> Iterator[tuple[Literal["ok", "warning", "error"], str]]:
        """As `Provider.check`: the library, the file, cores and memory."""
        from lee_llm_router.providers.llama_cpp.checks import check_model  # noqa: PLC0415 - only the doctor needs it

        yield from check_model(self.config, None if self._model is None else self._model.settings)

    def _asked(self, request: LLMRequest) -> _Asked:
        """Return `request` as a call that has not started."""
        model = self._open_model()
        body = _DIALECT.encode(request, chat_settings(), stream=True)
        schema = None
        if request.schema is not None and "response_format" not in request.extra_body:
            schema = to_json(body.get("response_format")).decode()
        is_held = schema is None or schema not in self._unheld
        if not is_held:
            body["messages"] = with_instructions(request.messages, request)
        body = finished_body(body, request, self.config.extra_body, hold_to_schema=is_held)
        data = encode_json(body)
        secrets = (*self._secrets, *values_used(request.extra_body), *secrets_in(request.extra_body))
        reply = HTTPReply(
            200, b"", request_bytes=len(data), secrets=secrets, now=self.clock.time(), asked=body,
            settings=chat_settings(),
        )  # fmt: skip
        return _Asked(ModelCall(model, data), reply, schema if is_held else None)

    def _asked_embeddings(self, request: EmbeddingRequest, texts: Sequence[str]) -> _Asked:
        body = {"input": texts, **request.extra_body}
        data = encode_json(body)
        secrets = (*self._secrets, *values_used(request.extra_body), *secrets_in(request.extra_body))
        reply = HTTPReply(200, b"", request_bytes=len(data), secrets=secrets, now=self.clock.time(), asked=body)
        return _Asked(EmbeddingCall(self._open_model(), data), reply, None)

    def _batch(
        self, asked: _Asked, answer: Answer | AsyncAnswer, request: EmbeddingRequest, wanted: int
    ) -> EmbeddedBatch:
        batch = _EMBEDDINGS.decode(replace(asked.reply, body=answer.first), wanted)
        if request.dimensions is None:
            return batch
        return replace(batch, vectors=tuple(shortened(vector, request.dimensions) for vector in batch.vectors))

    def _open_model(self) -> SharedModel:
        if self._model is None:
            raise self._no_path or ProviderError("the provider is closed", sent=False)
        return self._model

    @contextmanager
    def _begun(self, asked: _Asked, answer: Answer | AsyncAnswer, timeout: float) -> Iterator[None]:
        """Start a call, whose answer is opened, and perhaps read, within the block; stop it if that fails."""
        answer.allow(timeout)
        try:
            asked.call.start()
            yield
        except BaseException as error:
            answer.close()
            if isinstance(error, InvalidRequestError) and asked.schema is not None:
                self._ask_without(asked.schema, error)
            raise

    def _ask_without(self, schema: str, error: InvalidRequestError) -> None:
        """Ask for JSON in words from now on, if llama.cpp may have refused `schema`."""
        if len(self._unheld) >= _MAX_REMEMBERED:
            self._unheld.clear()
        self._unheld.add(schema)
        error.ask_again = True

    def _check(self, asked: _Asked, answer: Answer | AsyncAnswer) -> None:
        """Raise the error that came instead of an answer, if there is one."""
        if answer.refusal is not None:
            raise _DIALECT.failure(replace(asked.reply, status=_status_in(answer.refusal), body=answer.refusal))

    def _response(self, asked: _Asked, answer: WireResponse) -> LLMResponse:
        return _DIALECT.decode(replace(asked.reply, body=answer.body))

    def _decoder(self, asked: _Asked) -> Decoder:
        return _DIALECT.decoder(asked.reply, chat_settings())


def shortened(vector: Vector, dimensions: int) -> Vector:
    """Return the first `dimensions` numbers of a vector, scaled to length 1, as the models' makers recommend.

    Raises:
        InvalidRequestError: it has fewer.
    """
    if dimensions > len(vector):
        raise InvalidRequestError(f"the model's vectors have {len(vector)} dimensions, not {dimensions}")
    length = hypot(*vector[:dimensions])
    return tuple(number / length for number in vector[:dimensions]) if length else vector[:dimensions]


@lru_cache(maxsize=1)
def chat_settings() -> OpenAIChatConfig:
    """Return the settings for the dialect of chat completions."""
    return OpenAIChatConfig(type="http", base_url="http://in-this-process/v1")


def load_settings_of(config: LlamaCppConfig) -> LoadSettings:
    """Return how to load the model of a provider with the settings `config`.

    Raises:
        OSError: the path begins with ~, and there is no home.
    """
    cores = usable_cores()
    return LoadSettings(
        path=os.path.abspath(config.origin.path(config.model_path)),  # noqa: PTH100 - links may be changed later
        context=config.n_ctx,
        slots=config.max_concurrency,
        threads=min(config.n_threads or max(1, cores // 2), cores),
        gpu_layers=config.n_gpu_layers,
        embeddings=config.embeddings,
        pooling=config.pooling,
        chat_template=config.chat_template,
    )


def _takes_tools(config: LlamaCppConfig) -> bool:
    """Return whether the model's chat template supports tools; true if unknown."""
    template = config.chat_template
    if template is None:
        try:
            template = read_header(Path(load_settings_of(config).path)).chat_template
        except (OSError, GGUFError):
            return True  # the attempt reports what is wrong with the file
    return "tools" in (template or "")


def _status_in(refusal: bytes) -> int:
    """Return the status in an error of llama.cpp."""
    try:
        code = from_json(refusal)["error"]["code"]
    except (ValueError, LookupError, TypeError):
        return 500
    return code if type(code) is int and 400 <= code < 600 else 500
