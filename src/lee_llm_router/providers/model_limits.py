"""The limits of single models; loaded only if a file has some."""

from pydantic import Field

from lee_llm_router.settings.fields import Integer
from lee_llm_router.settings.model import Section


class ModelLimitsConfig(Section):
    """Limits of one model, in addition to those of its provider."""

    max_concurrency: Integer | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Most attempts at the model that this router makes at once. Default: no limit.",
    )
    rpm: Integer | None = Field(
        None, ge=1, le=1_000_000, description="Most attempts at the model started within 60 seconds. Default: no limit."
    )
    tpm: Integer | None = Field(
        None,
        ge=1,
        le=1_000_000_000_000,
        description="Most tokens the model may use within 60 seconds. Default: no limit.",
    )
