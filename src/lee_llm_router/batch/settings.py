"""What a batch is told: the arguments of `LeeLLMRouter.batch`."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import field, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.rows import RowValue
from lee_llm_router.errors import ConfigError

Rows: TypeAlias = str | PathLike[str] | Iterable[RowValue] | AsyncIterable[RowValue]
"""What a batch may be given: the path of a file, or values one after the other."""
RowFormat: TypeAlias = Literal["jsonl", "csv", "tsv", "text"]
ProgressHook: TypeAlias = Callable[[BatchReport], object]

GIVE_UP_AFTER = 86_400.0
"""Seconds that an outage is waited out by default: a day. The batch can be resumed in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """All that is said of a batch, but for its rows."""

    role: str | None
    """The role that is asked; None: the default role."""
    out: Path
    """Where answers go. The errors file and the ledger stand beside it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of every call; those of a row come before them."""
    concurrency: int | None = None
    """Rows that are asked at once; None: as many as the role's first target takes."""
    template: str | None = None
    """The text of a `PromptTemplate`."""
    system: str | None = None
    """Instructions for the rows that bring none."""
    row_format: RowFormat | None = None
    """How a file is read; None: by its name."""
    ordered: bool = False
    """Whether the output is put into the order of the rows, at the end."""
    retry_errors: bool = False
    """Whether rows that have failed are asked again."""
    append: bool = False
    """Whether an output that another input or other settings began is gone on with."""
    max_failures: int | None = None
    """How many rows may fail before the batch stops; None: any number."""
    give_up_after: float = GIVE_UP_AFTER
    """Seconds that an outage is waited out."""
    engine: str = "live"
    """Who asks; a name of `engine.ENGINES`."""
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of that engine, by name."""
    progress: ProgressHook | None = None
    """Is called with the figures so far, ten times a second at most, and at the end."""

    @property
    def errors(self) -> Path:
        """The errors file: ``out.errors.jsonl`` for ``out.jsonl``, ``out.txt.errors.jsonl`` for ``out.txt``."""
        return self.out.with_name(f"{self.out.name.removesuffix('.jsonl')}.errors.jsonl")

    @property
    def ledger(self) -> Path:
        """The file of the ledger."""
        return self.out.with_name(f"{self.out.name}.ledger")


def check_engine_options(engine: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Check that each of `options` is one of those that `engine` knows.

    Raises:
        ConfigError: it does not know one.
    """
    for name in options:
        if name not in known:
            hint = Suggester().did_you_mean(name, known)
            raise ConfigError(f"the engine {engine} has no option {name!r:.60}{hint}", sent=False)


_NAMES = frozenset(one.name for one in fields(BatchSettings)) - {"role", "out", "concurrency", "options"}


def settings_of(
    out: str | PathLike[str], role: str | None, concurrency: int | None, options: Mapping[str, Any]
) -> BatchSettings:
    """Return the settings that the arguments of `LeeLLMRouter.batch` say; what is none of a batch's is a call's."""
    own = {name: value for name, value in options.items() if name in _NAMES}
    others = {name: value for name, value in options.items() if name not in _NAMES}
    return BatchSettings(out=Path(fspath(out)), role=role, concurrency=concurrency, options=others, **own)
