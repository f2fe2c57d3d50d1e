"""Settings of a `gemini_cli` provider."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.agents.settings import AgentConfig
from lee_llm_router.settings.fields import BaseUrl, EnvName

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class GeminiCLIConfig(AgentConfig):
    """Settings of a `gemini_cli` provider."""

    type: str = Field("gemini_cli", description="gemini_cli")
    command: str = Field("gemini", min_length=1, description="The program: a name on PATH, or a path.")
    base_url: BaseUrl | None = Field(
        None, description="Address of a server with the Gemini API, without the version. Default: Google's service."
    )
    api_key_env: EnvName | None = Field(
        None, description="Environment variable that holds the key. Default: none; your Google login is used."
    )
    approval: Literal["default", "plan", "auto_edit", "yolo"] = Field(
        "default",
        description="What an agent may do without asking: default and plan: read; auto_edit: change files; yolo:"
        " anything.",
    )
    reasoning_effort: str | None = Field(
        None, min_length=1, description="How much to think if the call does not say: low, medium, high..."
    )
    extra_settings: dict[str, Any] = Field(
        default_factory=dict, description="Further settings of gemini, as in its settings.json; they go before ours."
    )

    @field_validator("base_url")
    @classmethod
    def _is_one_that_gemini_takes(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
                raise PydanticCustomError("wanted_https", "gemini takes https, and http only for this machine")
            if parts.path.rpartition("/")[2] in ("v1", "v1beta", "v1alpha"):
                raise PydanticCustomError("wanted_no_version", "leave the version out of the address: gemini adds it")
        return value
