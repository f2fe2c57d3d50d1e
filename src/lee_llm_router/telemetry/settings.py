"""The section `trace` of a configuration."""

from typing import Literal

from pydantic import Field

from lee_llm_router.settings.fields import Integer
from lee_llm_router.settings.model import Section


class TraceConfig(Section):
    """Where traces go, and what is in them."""

    enabled: bool = Field(True, description="Write traces to files.")
    dir: str | None = Field(None, description="Folder. Default: .lee-llm-router/traces under the workspace.")
    workspace: str | None = Field(None, description="Folder traces belong to, noted in each. Default: here.")
    keep_days: Integer = Field(30, ge=0, description="Days to keep; 0 keeps all.")
    capture: Literal["meta", "full"] = Field("meta", description="full: prompts and answers are stored too.")
