"""The section `cassette` of the configuration file."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from lee_llm_router.settings.fields import AllowString
from lee_llm_router.settings.model import OriginSection

CassetteMode: TypeAlias = Literal["once", "new", "record", "replay"]
"""When to ask providers; `CassetteConfig.mode` explains the values."""


class CassetteConfig(OriginSection):
    """A file of recorded answers. The configuration may give only its path."""

    path: str = Field(
        min_length=1, description="The file; a relative path starts at the folder of the configuration file."
    )
    mode: CassetteMode = Field(
        "once",
        description="once: record if the file does not exist, else play it. new: play, and record what is not in it."
        " record: record everything anew. replay: only play; never ask a provider.",
    )
    raw: bool = Field(True, description="Also record each answer as the vendor sent it (`raw`).")

    @property
    def file(self) -> Path:
        """The file.

        Raises:
            OSError: the path begins with ``~``, and there is no home.
        """
        return self.origin.path(self.path).absolute()


def _from_path(value: Any) -> Any:
    return {"path": os.fspath(value)} if isinstance(value, (str, os.PathLike)) else value


AnyCassette: TypeAlias = Annotated[CassetteConfig, BeforeValidator(_from_path), AllowString()]
"""A section `cassette`, or only the path of the file."""
