"""Settings of the Gemini API."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.http.dialects.gemini.models import ModelTraits, traits_of
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.settings.fields import BaseUrl

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com/v1beta"
KEY_VARIABLE = "GEMINI_API_KEY"


def _is_api_root(url: str) -> str:
    path = urlsplit(url).path
    if path.endswith("/models") or "/models/" in path or ":" in path:
        raise PydanticCustomError("wanted_url", "leave out /models and what follows: the model's name is added")
    return url


class GeminiConfig(HTTPConfig):
    """Settings of a `gemini` provider: Google's Gemini API, Vertex, and gateways that speak it."""

    keeps_key_at_home = True
    refused: ClassVar[frozenset[str]] = frozenset()
    """What the model has refused, by the names of `lessons`: where it has, a copy of the settings with more is used."""

    base_url: Annotated[BaseUrl, AfterValidator(_is_api_root)] = Field(
        DEFAULT_BASE_URL,
        description="Where the API is, its version included; on Vertex up to the publisher:"
        " https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/publishers/google.",
    )
    key_as: Literal["auto", "x-goog-api-key", "bearer"] = Field(
        "auto",
        description="How the key travels: in the header x-goog-api-key, or as a bearer token. auto: an access token at"
        " Vertex is a bearer token, and every other key an API key.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_usual_key(cls, data: Any) -> Any:
        """Name the usual variable of the key, where Google's own address is asked: no other gets it unasked."""
        if isinstance(data, dict) and not data.keys() & {"base_url", "api_key_env", "api_key_file"}:
            return {**data, "api_key_env": KEY_VARIABLE}
        return data

    def traits_of(self, model: str) -> ModelTraits:
        """Return what `model` takes, by its name and by what it has refused."""
        return traits_of(model).without(self.refused) if self.refused else traits_of(model)


@lru_cache(maxsize=256)
def server_of(base_url: str) -> str:
    """Return the host, and the port if it is named, that `base_url` leads to."""
    return urlsplit(base_url).netloc.lower()


def is_vertex(base_url: str) -> bool:
    """Return whether `base_url` is of Vertex."""
    return server_of(base_url).endswith("aiplatform.googleapis.com")
