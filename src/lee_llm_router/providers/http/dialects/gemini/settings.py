"""Settings of the Gemini API."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.http.dialects.gemini.models import ModelTraits, traits_of
from lee_llm_router.providers.http.settings import HTTPConfig, server_of
from lee_llm_router.settings.fields import BaseUrl

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com/v1beta"


def _is_api_root(url: str) -> str:
    path = urlsplit(url).path
    if path.endswith("/models") or "/models/" in path or ":" in path:
        raise PydanticCustomError("wanted_url", "leave out /models and what follows: the model's name is added")
    return url


class GeminiConfig(HTTPConfig):
    """Settings of a `gemini` provider: Google's Gemini API, Vertex, and gateways that speak it."""

    keeps_key_at_home = True
    usual_key_variable = "GEMINI_API_KEY"
    refused: ClassVar[frozenset[str]] = frozenset()
    """What the model has refused, by the names of `lessons`. A refusal makes a copy of the settings with one more."""

    base_url: Annotated[BaseUrl, AfterValidator(_is_api_root)] = Field(
        DEFAULT_BASE_URL,
        description="Address of the API, including its version; on Vertex, up to the publisher:"
        " https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/publishers/google.",
    )
    key_as: Literal["auto", "x-goog-api-key", "bearer"] = Field(
        "auto",
        description="How the key is sent: in the header x-goog-api-key, or as a bearer token. auto: an access token at"
        " Vertex is sent as a bearer token, every other key as an API key.",
    )

    def traits_of(self, model: str) -> ModelTraits:
        """Return what `model` accepts, by its name and by what it has refused."""
        return traits_of(model).without(self.refused) if self.refused else traits_of(model)


def is_vertex(base_url: str) -> bool:
    """Return whether `base_url` belongs to Vertex."""
    return server_of(base_url).endswith("aiplatform.googleapis.com")
