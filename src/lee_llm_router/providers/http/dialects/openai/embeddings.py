"""Embeddings in OpenAI's form: ``POST /embeddings``. Pure.

Used by OpenAI, Azure, Mistral, Together, and by llama.cpp, vLLM, LM Studio and Ollama (OpenAI API reference, "Create
embeddings").
"""

from __future__ import annotations

import binascii
from array import array
from base64 import b64decode
from collections.abc import Mapping, Sequence
from sys import byteorder
from typing import Any

from lee_llm_router.errors import InvalidResponseError
from lee_llm_router.providers.embeddings import EmbeddedBatch, EmbeddingRequest, checked_vectors
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import is_error
from lee_llm_router.providers.http.dialects.errors import failure_within
from lee_llm_router.providers.http.dialects.json_body import describe_body, invalid_answer, mapping, string
from lee_llm_router.providers.http.dialects.openai.answers import cost_of, usage_of
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.whole_answer import decode_answer
from lee_llm_router.response.types import UNREPORTED


class OpenAIEmbeddings:
    """The `EmbeddingDialect` of OpenAI. Stateless."""

    def path(self, request: EmbeddingRequest, settings: OpenAIChatConfig) -> str:  # noqa: ARG002
        """Return the path, which is always the same."""
        return "/embeddings"

    def encode(self, request: EmbeddingRequest, texts: Sequence[str], settings: OpenAIChatConfig) -> dict[str, Any]:
        """Return the body that requests the vectors of `texts`."""
        model = request.model or settings.model
        body: dict[str, Any] = {} if model is None else {"model": model}
        body["input"] = texts
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        return body

    def decode(self, reply: HTTPReply, wanted: int) -> EmbeddedBatch:
        """Return the vectors in the body of a 200, in the order of the texts.

        Raises:
            InvalidResponseError: it does not hold one valid vector for each text.
            LLMRouterError: an error came instead; the type is the one that it names.
        """
        answer = decode_answer(reply)
        data = answer.get("data")
        if is_error(answer, has_choices=isinstance(data, list)):
            raise failure_within(reply, answer)
        if not isinstance(data, list):
            raise invalid_answer(reply, f"without data: {describe_body(reply, is_no_answer=True)}")
        usage = answer.get("usage")
        try:
            vectors = checked_vectors([_vector(entry) for entry in _in_order(list(map(mapping, data)))], wanted)
        except InvalidResponseError as error:
            raise invalid_answer(reply, f"not complete: {error.message}") from None
        return EmbeddedBatch(
            vectors=vectors,
            usage=usage_of(usage) or UNREPORTED,
            model=string(answer.get("model")),
            cost_usd=cost_of(usage),
            request_bytes=reply.request_bytes,
        )


def _in_order(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return `entries` sorted by their numbers, if they have any."""
    numbers = [entry.get("index") for entry in entries]
    if all(type(number) is int for number in numbers) and sorted(numbers) == list(range(len(numbers))):  # type: ignore[type-var]
        return sorted(entries, key=lambda entry: entry["index"])
    if len(set(map(repr, numbers))) > 1:
        raise InvalidResponseError("the numbers of its vectors are not those of the texts")
    return entries  # no entry is numbered, or all have the same number


def _vector(entry: Mapping[str, Any]) -> Any:
    """Return the vector of an entry: a list, or base64 of little-endian 32-bit floats."""
    vector = entry.get("embedding")
    if not isinstance(vector, str):
        return vector
    numbers = array("f")
    try:
        numbers.frombytes(b64decode(vector, validate=True))
    except (ValueError, binascii.Error):
        return None
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
