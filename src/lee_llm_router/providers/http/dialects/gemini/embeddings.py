"""Embeddings by Google's APIs. Pure.

There are three forms. The Gemini API uses ``:batchEmbedContents`` for all models. Vertex uses it too, with the options
in a separate object, for models with `gemini` in their name; its other models use ``:predict``. google-genai 3.6.1 has
the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router._util.numbers import count
from lee_llm_router.errors import InvalidRequestError, InvalidResponseError
from lee_llm_router.providers.embeddings import EmbeddedBatch, EmbeddingRequest, checked_vectors
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.gemini.answer import usage_of
from lee_llm_router.providers.http.dialects.gemini.errors import failure_within
from lee_llm_router.providers.http.dialects.gemini.request import path_of
from lee_llm_router.providers.http.dialects.gemini.settings import GeminiConfig, is_vertex
from lee_llm_router.providers.http.dialects.json_body import decode_json, describe_body, invalid_answer, mapping
from lee_llm_router.response.types import UNREPORTED, LLMUsage


class GeminiEmbeddings:
    """The `EmbeddingDialect` of Google. Stateless."""

    def path(self, request: EmbeddingRequest, settings: GeminiConfig) -> str:
        """Return the path of the model and its method.

        Raises:
            InvalidRequestError: no model is named.
        """
        model = _model_of(request, settings)
        return f"{path_of(model)}:{'predict' if _is_predicted(model, settings) else 'batchEmbedContents'}"

    def encode(self, request: EmbeddingRequest, texts: Sequence[str], settings: GeminiConfig) -> dict[str, Any]:
        """Return the body that requests the vectors of `texts`."""
        model = _model_of(request, settings)
        length = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
        if _is_predicted(model, settings):
            return {"instances": [{"content": text} for text in texts]} | ({"parameters": length} if length else {})
        contents = ({"content": {"parts": [{"text": text}]}} for text in texts)
        if is_vertex(settings.base_url):
            options = {"embedContentConfig": length} if length else {}
            return {"requests": [content | options for content in contents]}
        name = path_of(model).removeprefix("/")
        return {"requests": [{"model": name, **content, **length} for content in contents]}

    def decode(self, reply: HTTPReply, wanted: int) -> EmbeddedBatch:
        """Return the vectors in the body of a 200, in the order of the texts.

        Raises:
            InvalidResponseError: it does not hold one valid vector for each text.
            LLMRouterError: an error came instead; the type is the one that it names.
        """
        answer = decode_json(reply)
        if answer.get("error"):
            raise failure_within(reply, answer)
        predictions = answer.get("predictions")
        found = answer.get("embeddings")
        if isinstance(predictions, list):
            found = [mapping(one).get("embeddings") for one in predictions]
        if not isinstance(found, list):
            raise invalid_answer(reply, f"without embeddings: {describe_body(reply, is_no_answer=True)}")
        entries = list(map(mapping, found))
        try:
            vectors = checked_vectors([entry.get("values") for entry in entries], wanted)
        except InvalidResponseError as error:
            raise invalid_answer(reply, f"not complete: {error.message}") from None
        usage = usage_of(mapping(answer.get("usageMetadata"))) or _counted(entries)
        return EmbeddedBatch(vectors=vectors, usage=usage, request_bytes=reply.request_bytes)


def _model_of(request: EmbeddingRequest, settings: GeminiConfig) -> str:
    model = request.model or settings.model
    if not model:
        raise InvalidRequestError("a model must be named: it is a part of the address", sent=False)
    return model


def _is_predicted(model: str, settings: GeminiConfig) -> bool:
    """Return whether Vertex serves the model through its older form."""
    return is_vertex(settings.base_url) and "gemini" not in model.rsplit("/", 1)[-1]


def _counted(entries: Sequence[Mapping[str, Any]]) -> LLMUsage:
    """Return the token counts next to the vectors, which Vertex reports."""
    numbers = [mapping(entry.get("statistics")).get("token_count") for entry in entries]
    tokens = [count(int(number) if isinstance(number, float) and number.is_integer() else number) for number in numbers]
    if not tokens or None in tokens:
        return UNREPORTED
    total = sum(number for number in tokens if number is not None)
    return LLMUsage(prompt_tokens=total, total_tokens=total)
