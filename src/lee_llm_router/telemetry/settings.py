"""The section `trace` of a configuration."""

from typing import Literal

from pydantic import Field

from lee_llm_router.settings.fields import Integer, Number
from lee_llm_router.settings.model import Section
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.plugins import AnyStore


class TraceConfig(Section):
    """Where traces go, and what is in them."""

    enabled: bool = Field(True, description="Write traces.")
    store: AnyStore = Field(
        # Made when needed: an instance here would build its model at import.
        default_factory=lambda: PluginSettings(type="jsonl"),
        description="Store of the traces: its name, or its type and settings. Default: jsonl.",
    )
    dir: str | None = Field(None, description="Folder. Default: .lee-llm-router/traces under the workspace.")
    workspace: str | None = Field(None, description="Folder traces belong to, noted in each. Default: here.")
    keep_days: Integer = Field(30, ge=0, description="Days to keep; 0 keeps all.")
    max_mb: Number = Field(
        0, ge=0, description="Megabytes that all traces may have together; the oldest files go. 0: any number."
    )
    capture: Literal["meta", "full"] = Field("meta", description="full: prompts and answers are stored too.")
