"""Embeddings: texts in, one vector for each out. Plain data that providers and callers share.

An attempt embeds all texts, in batches of its provider's size. The results stay in the request
(`EmbeddingRequest.done`), so that a retry continues where the last attempt ended. Each target gets a new request:
vectors of two models must never mix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import field
from math import isfinite
from typing import Any, TypeAlias

from lee_llm_router._util.answer_headers import NO_HEADERS
from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import InvalidRequestError, InvalidResponseError
from lee_llm_router.response.types import UNREPORTED, LLMUsage

Vector: TypeAlias = tuple[float, ...]

MAX_BATCH_CHARACTERS = 400_000
"""Characters in one batch, unless a single text is longer: OpenAI takes 300,000 tokens per request."""


@dataclass(frozen=True, slots=True)
class EmbeddingInputs:
    """What a caller wants to embed."""

    texts: tuple[str, ...]
    dimensions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedBatch:
    """The result of one batch."""

    vectors: tuple[Vector, ...]
    usage: LLMUsage = UNREPORTED
    model: str | None = None
    """The model that served."""
    cost_usd: float | None = None
    request_bytes: int | None = None
    headers: Mapping[str, str] = field(default=NO_HEADERS, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """One request for embeddings, as a provider sees it. None means that an option is unset and not sent."""

    inputs: tuple[str, ...]
    model: str | None = None
    dimensions: int | None = None
    """Length of the vectors, for models that can shorten them."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    role: str = ""
    request_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    done: list[EmbeddedBatch] = field(default_factory=list, repr=False)
    """The results of earlier batches, in order; a provider appends to it."""

    def batches(self, size: int) -> Iterator[tuple[str, ...]]:
        """Yield batches of at most `size` texts that have no vector yet; the result of each goes into `done`."""
        start = sum(len(batch.vectors) for batch in self.done)
        while start < len(self.inputs):
            end, characters = start + 1, len(self.inputs[start])
            while end < min(len(self.inputs), start + size):
                characters += len(self.inputs[end])
                if characters > MAX_BATCH_CHARACTERS:
                    break
                end += 1
            yield self.inputs[start:end]
            start = end

    def response(self) -> EmbeddingResponse:
        """Return the results of all batches."""
        done = self.done
        return EmbeddingResponse(
            vectors=tuple(vector for batch in done for vector in batch.vectors),
            usage=_sum_of([batch.usage for batch in done]),
            model=done[-1].model if done else None,
            cost_usd=_total([batch.cost_usd for batch in done]),
            request_bytes=_total([batch.request_bytes for batch in done]),
            headers=done[-1].headers if done else NO_HEADERS,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingResponse:
    """The vectors of all texts of a call, from one model."""

    vectors: tuple[Vector, ...] = field(repr=False)
    """One vector for each text, in the order of the texts; all have the same length."""
    usage: LLMUsage = UNREPORTED
    cost_usd: float | None = None
    cached: bool = False
    """Whether the vectors come from an earlier request (`cache`)."""
    model: str | None = None
    """The model that served, as the provider reports it."""
    provider: str = ""
    """Name of the provider that served, filled in by the router."""
    request_id: str = ""
    """The call's id, as in its traces; filled in by the router."""
    request_bytes: int | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default=NO_HEADERS, repr=False, compare=False)

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return len(self.vectors[0]) if self.vectors else 0


def checked_inputs(inputs: Any, dimensions: Any) -> EmbeddingInputs:
    """Return the caller's texts if they can be embedded; a plain string is one text.

    Raises:
        InvalidRequestError: there are no texts, or one is empty, not a string, or not valid in UTF-8.
    """
    if isinstance(inputs, (Mapping, Set, bytes)):
        raise InvalidRequestError(
            f"inputs must be a string or a list of strings, not {type(inputs).__name__}", sent=False
        )
    try:
        texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    except Exception:  # noqa: BLE001 - an iterable of the caller's own may raise anything
        raise InvalidRequestError("inputs must be a string or strings", sent=False) from None
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise InvalidRequestError("dimensions must be a whole number from 1", sent=False)
    if not texts:
        raise InvalidRequestError("inputs is empty", sent=False)
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            what = "is empty" if text == "" else f"must be text, not {type(text).__name__}"
            raise InvalidRequestError(f"inputs[{index}] {what}", sent=False)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                message = f"inputs[{index}] holds a lone surrogate at character {error.start}"
                raise InvalidRequestError(f"{message}, which UTF-8 cannot encode", sent=False) from None
    return EmbeddingInputs(texts, dimensions)


def checked_vectors(vectors: Sequence[Any], wanted: int) -> tuple[Vector, ...]:
    """Return `vectors` as tuples of numbers.

    Raises:
        InvalidResponseError: there are not `wanted` of them, or they differ in length, are empty, or hold anything but
            finite numbers.
    """
    if len(vectors) != wanted:
        raise InvalidResponseError(f"{len(vectors)} vectors for {wanted} texts")
    found = []
    for vector in vectors:
        try:
            # The sum is a number only if all elements are, and finite only if all are.
            sound = isinstance(vector, (list, tuple)) and bool(vector) and isfinite(sum(vector))
        except (TypeError, OverflowError):
            sound = False
        if not sound:
            raise InvalidResponseError("a vector is not a list of finite numbers")
        found.append(tuple(vector))
    if any(len(vector) != len(found[0]) for vector in found):
        raise InvalidResponseError("the vectors are of different lengths")
    return tuple(found)


def _sum_of(usages: Sequence[LLMUsage]) -> LLMUsage:
    if len(usages) == 1:
        return usages[0]
    prompt, total = (_total([getattr(u, name) for u in usages]) for name in ("prompt_tokens", "total_tokens"))
    return LLMUsage(prompt_tokens=prompt, total_tokens=total) or UNREPORTED


def _total(numbers: Sequence[Any]) -> Any:
    """Return the sum; None if any number is unknown."""
    return None if not numbers or None in numbers else sum(numbers)
