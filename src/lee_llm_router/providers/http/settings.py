"""Settings that every provider of an HTTP API has."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.http.headers import HeaderFields
from lee_llm_router.settings.fields import BaseUrl, EnvName, Integer

DEFAULT_MAX_RESPONSE_BYTES = 32 * 1024 * 1024


class HTTPConfig(ProviderConfig):
    """Settings of an HTTP API, whatever its dialect. A dialect adds its own by subclassing."""

    base_url: BaseUrl = Field(description="Where the API is; paths are added to it.")
    api_key_env: EnvName | None = Field(
        None, description="Environment variable that holds the key, read at each attempt. Unset: no key is sent."
    )
    headers: HeaderFields = Field(default_factory=dict, description="Headers added to each request.")
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="Fields merged into each request's body as they are."
    )
    max_response_bytes: Integer = Field(
        DEFAULT_MAX_RESPONSE_BYTES, ge=1024, description="Longest answer taken, in bytes when decompressed."
    )
    ca_file: str | None = Field(
        None, min_length=1, description="PEM file with authorities to trust, in addition to the usual ones."
    )
    trust: Literal["certifi", "system"] = Field(
        "certifi",
        description="Whose authorities are trusted: certifi's (or those of SSL_CERT_FILE, SSL_CERT_DIR), or those of"
        " the system (the extra [trust]).",
    )
    transport: Literal["auto", "httpx", "httptools"] = Field(
        "auto",
        description="What carries the requests: httpx, httptools (the extra [fast]), or auto: what"
        " LEE_LLM_ROUTER_TRANSPORT names, else httptools where it is installed.",
    )
