"""Settings of a `llama_cpp` provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.settings.fields import Integer

MAX_SLOTS = 64
MIN_CONTEXT = 256
"""Tokens. llama.cpp rounds a smaller context up to this, and ends the process if a context holds a single token."""
MAX_CONTEXT = 16_777_216

Pooling: TypeAlias = Literal["mean", "cls", "last"]

_OWN_FIELDS = ("stream", "return_progress", "model", "messages")


def _sets_no_own_field(body: dict[str, Any]) -> dict[str, Any]:
    for name in _OWN_FIELDS:
        if name in body:
            raise PydanticCustomError("reserved", "{name} cannot be set here", {"name": name})
    return body


class LlamaCppConfig(ProviderConfig):
    """Settings of a `llama_cpp` provider: a GGUF file, and how to run it."""

    setting_in_target_name = "model_path"

    type: str = Field("llama_cpp", description="llama_cpp")
    model_path: str = Field(
        min_length=1,
        description="The GGUF file. ~ is the home folder; a relative path starts at the folder of the configuration.",
    )
    max_concurrency: Integer = Field(
        1, ge=1, le=MAX_SLOTS, description="Calls that the model answers at once, each with its own context."
    )
    n_ctx: Integer | None = Field(
        None,
        ge=MIN_CONTEXT,
        le=MAX_CONTEXT,
        description="Most tokens of one conversation, prompt and answer together. Default: as many as the model was"
        " trained with, at most 4096.",
    )
    n_threads: Integer | None = Field(
        None,
        ge=1,
        le=1024,
        description="Threads that compute, no more than this process has cores. Default: half of the cores.",
    )
    n_gpu_layers: Integer | None = Field(
        None, ge=0, le=10_000, description="Layers computed by the GPU. Default: as many as fit, if there is one."
    )
    embeddings: bool = Field(False, description="Also answer requests for embeddings. This takes more memory.")
    pooling: Pooling | None = Field(
        None, description="How to combine the tokens' vectors into one. Default: as the file says, else mean."
    )
    chat_template: str | None = Field(
        None, min_length=1, description="A Jinja template for messages, instead of the one in the file."
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_sets_no_own_field)] = Field(
        default_factory=dict,
        description="Fields merged into each request as they are: {min_p: 0.05, chat_template_kwargs: {...}}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _named_after_file(cls, written: Any) -> Any:
        """Name the model after its file if it has no other name: a chain shows what would answer."""
        if isinstance(written, Mapping) and written.get("model") is None:
            path = written.get("model_path")
            if isinstance(path, str) and (name := PurePath(path).stem):
                return {**written, "model": name}
        return written
