"""Settings that every provider of an HTTP API has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from lee_llm_router._util.scrubbing import MASK
from lee_llm_router.providers.http.headers import HeaderFields
from lee_llm_router.providers.http.query import QueryFields, with_query_apart
from lee_llm_router.providers.keys import KeyedConfig
from lee_llm_router.settings.fields import BaseUrl, Integer

DEFAULT_MAX_RESPONSE_BYTES = 32 * 1024 * 1024


@lru_cache(maxsize=256)
def server_of(base_url: str) -> str:
    """Return the host of `base_url`, with the port if it names one."""
    return urlsplit(base_url).netloc.lower()


class HTTPConfig(KeyedConfig):
    """Settings of an HTTP API in any dialect. A dialect adds its own by subclassing."""

    usual_key_variable: ClassVar[str | None] = None
    """The variable of the vendor's key. Unless the file says otherwise, the key goes only to the vendor's own address,
    the default."""

    base_url: BaseUrl = Field(description="Address of the API; paths are appended to it.")
    _query_apart = model_validator(mode="before")(with_query_apart)

    headers: HeaderFields = Field(default_factory=dict, description="Headers added to each request.")
    query: QueryFields = Field(
        default_factory=dict,
        description="Query parameters added to the address of each request: {api-version: ...}. Those in base_url are"
        " included.",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="Fields merged into each request's body as they are."
    )
    embedding_batch: Integer = Field(
        100, ge=1, le=10_000, description="Most texts in one request for embeddings, for APIs that have them."
    )
    max_response_bytes: Integer = Field(
        DEFAULT_MAX_RESPONSE_BYTES, ge=1024, description="Longest answer accepted, in bytes after decompression."
    )
    ca_file: str | None = Field(
        None, min_length=1, description="PEM file with certificate authorities to trust, in addition to the usual ones."
    )
    trust: Literal["certifi", "system"] = Field(
        "certifi",
        description="Certificate authorities to trust: certifi's (or those of SSL_CERT_FILE, SSL_CERT_DIR), or the"
        " system's (needs the extra [trust]).",
    )
    transport: Literal["auto", "httpx", "httptools"] = Field(
        "auto",
        description="Library that sends the requests: httpx, httptools (the extra [fast]), or auto: the one that"
        " LEE_LLM_ROUTER_TRANSPORT names, else httptools if it is installed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_usual_key(cls, data: Any) -> Any:
        usual = cls.usual_key_variable
        if usual is None or not isinstance(data, dict) or data.keys() & {"base_url", "api_key_env", "api_key_file"}:
            return data
        return {**data, "api_key_env": usual}

    @property
    def ca_path(self) -> str | None:
        """The path of `ca_file`: ``~`` is the home folder, and a relative path starts at the folder of the
        configuration."""
        if self.ca_file is None:
            return None
        try:
            return str(self.origin.path(self.ca_file))
        except OSError:  # no home: opening the file reports it
            return self.ca_file

    def changed(self, overrides: Mapping[str, Any]) -> Self:
        """As `RedactingModel.changed`. Parameters in another `base_url` replace those of the same name."""
        with suppress(PydanticCustomError):  # validating the copy raises it again, in its proper form
            apart = with_query_apart(overrides)
            if apart is not overrides and "query" not in overrides:
                overrides = {**apart, "query": {**self.query, **apart["query"]}}
        return super().changed(overrides)

    def _masked(self, shown: dict[Any, Any]) -> dict[Any, Any]:
        shown = super()._masked(shown)
        if ("base_url",) in self._filled and shown.get("query"):  # the query may come from there
            shown = {**shown, "query": dict.fromkeys(shown["query"], MASK)}
        return shown
