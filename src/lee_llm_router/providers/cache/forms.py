"""How to cache each kind of call: what part of the question goes into its key, and how an answer becomes bytes.

A stored value has two lines of JSON: the answer, and the vendor's own form (`raw`), which is parsed on access.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

from pydantic_core import from_json, to_json

from lee_llm_router._util.deferred import Deferred
from lee_llm_router.providers.cache.answer_data import answer_data, answer_of, embedding_data, embedding_of
from lee_llm_router.providers.embeddings import EmbeddingInputs, EmbeddingResponse
from lee_llm_router.response.types import LLMResponse

VERSION = 1
"""Version of the values kept; one of another version counts as missing."""


class AnswerForm(ABC):
    """How to store the answers of one kind of call."""

    name: str
    """Part of every key."""
    has_temperature: bool = True
    """Whether a temperature above 0 makes the answers to equal questions differ."""

    @abstractmethod
    def question(self, payload: Any) -> Any:
        """Return the question as JSON-compatible data."""

    @abstractmethod
    def dump(self, answer: Any) -> bytes:
        """Return `answer` in its stored form.

        Raises:
            ValueError: it cannot be stored.
        """

    @abstractmethod
    def load(self, kept: bytes) -> Any:
        """Return the answer in `kept`, marked as cached and free of cost.

        Raises:
            ValueError: it is not an answer, or of another version.
        """


class CompletionForm(AnswerForm):
    """The form of answers to chat completion."""

    name = "completion"

    def question(self, payload: Any) -> Any:
        """Return the messages."""
        return payload

    def dump(self, answer: LLMResponse) -> bytes:
        """As `AnswerForm.dump`; omits a `raw` that JSON cannot express."""
        head = _head(answer_data(answer))
        try:
            return head + b"\n" + to_json(answer.raw)
        except Exception:  # noqa: BLE001 - a provider's own may be anything, and raise anything
            return head + b"\nnull"

    def load(self, kept: bytes) -> LLMResponse:
        """As `AnswerForm.load`."""
        head, _, raw = kept.partition(b"\n")
        return answer_of(_checked(head), Deferred(partial(_raw_of, raw)), cached=True)


class EmbeddingForm(AnswerForm):
    """The form of embeddings, which are the same however often they are asked for."""

    name = "embedding"
    has_temperature = False

    def question(self, payload: EmbeddingInputs) -> Any:
        """Return the texts and the length of the vectors."""
        return [payload.texts, payload.dimensions]

    def dump(self, answer: EmbeddingResponse) -> bytes:
        """As `AnswerForm.dump`."""
        return _head(embedding_data(answer))

    def load(self, kept: bytes) -> EmbeddingResponse:
        """As `AnswerForm.load`."""
        return embedding_of(_checked(kept), cached=True)


COMPLETION_FORM = CompletionForm()
EMBEDDING_FORM = EmbeddingForm()


def _raw_of(kept: bytes) -> Any:
    try:
        return from_json(kept)
    except ValueError:  # somebody else has written it
        return None


def _head(data: dict[str, Any]) -> bytes:
    data["v"] = VERSION
    try:
        return to_json(data)
    except Exception as error:
        raise ValueError(f"the answer cannot be kept: {type(error).__name__}") from error


def _checked(head: bytes) -> dict[str, Any]:
    data = from_json(head)
    if not isinstance(data, dict) or data.get("v") != VERSION:
        raise ValueError("no answer of this version")
    return data
