"""The section `trace` of a configuration."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router._util.home_paths import expand_home
from lee_llm_router.settings.fields import Integer, Number
from lee_llm_router.settings.model import OriginSection
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.plugins import AnyStore


def _is_pattern(value: str) -> str:
    from lee_llm_router._util.text_pattern import PatternError, compile_mask  # noqa: PLC0415 - few files have any

    try:
        compile_mask(value)
    except PatternError as error:
        raise PydanticCustomError("wanted_pattern", "{reason}", {"reason": str(error)}) from None
    return value


Pattern: TypeAlias = Annotated[str, AfterValidator(_is_pattern)]
"""A regular expression in the syntax of Python's `re`."""


class TraceConfig(OriginSection):
    """Where traces go, and what they contain."""

    enabled: bool = Field(True, description="Write traces.")
    store: AnyStore = Field(
        # Created on demand: an instance here would build its model at import.
        default_factory=lambda: PluginSettings(type="jsonl"),
        description="Store of the traces: its name, or its type and settings. Default: jsonl.",
    )
    dir: str | None = Field(None, description="Folder. Default: .lee-llm-router/traces under the workspace.")
    workspace: str | None = Field(
        None, description="Folder that traces belong to, noted in each. Default: the folder of the configuration file."
    )
    keep_days: Integer = Field(30, ge=0, description="Days to keep traces; 0 keeps all.")
    max_mb: Number = Field(
        0, ge=0, description="Most megabytes of all traces together; the oldest files are removed. 0: no limit."
    )
    capture: Literal["none", "meta", "full"] = Field(
        "meta",
        description="full: store prompts and answers too. none: store only names, numbers and times; no metadata and"
        " no error messages.",
    )
    redact: tuple[Pattern, ...] = Field(
        (), max_length=100, description="Regular expressions; what they match in any text is stored as ***."
    )
    sample: Number = Field(
        1, ge=0, le=1, description="Share of successful calls to store; calls with a failure are always stored."
    )

    @property
    def workspace_folder(self) -> Path:
        """The folder that the traces belong to: `workspace`, or else the configuration file's, or else the current one.

        A relative `workspace` starts at the folder of the configuration file.

        Raises:
            OSError: the path begins with ``~``, and there is no home.
        """
        return self.origin.path(self.workspace or "")

    @property
    def trace_folder(self) -> Path:
        """The folder of the default store: `dir`, where a relative path starts at the `workspace_folder`.

        Raises:
            OSError: as `workspace_folder`.
        """
        from lee_llm_router.telemetry.stores.jsonl import DEFAULT_FOLDER  # noqa: PLC0415 - only the store needs it

        return self.workspace_folder / (DEFAULT_FOLDER if self.dir is None else expand_home(self.dir))
