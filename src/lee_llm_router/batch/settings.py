"""The settings of a batch: the arguments of `LeeLLMRouter.batch`."""

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
"""The rows that a batch takes: the path of a file, or an iterable of values."""
RowFormat: TypeAlias = Literal["jsonl", "csv", "tsv", "text"]
ProgressHook: TypeAlias = Callable[[BatchReport], object]

GIVE_UP_AFTER = 86_400.0
"""Default number of seconds to wait out an outage: a day. The batch can be resumed in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """All settings of a batch, without its rows."""

    role: str | None
    """The role to call; None: the default role."""
    out: Path
    """The file for answers. The errors file and the ledger are next to it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of every call; a row's own take precedence."""
    concurrency: int | None = None
    """Rows in flight at once; None: as many as the role's first target takes."""
    template: str | None = None
    """The text of a `PromptTemplate`."""
    system: str | None = None
    """Instructions for rows without instructions of their own."""
    row_format: RowFormat | None = None
    """The format of a file; None: by its name."""
    ordered: bool = False
    """Whether to sort the output into the order of the rows at the end."""
    retry_errors: bool = False
    """Whether to try failed rows again."""
    append: bool = False
    """Whether to continue an output that was started with another input or other settings."""
    max_failures: int | None = None
    """How many rows may fail before the batch stops; None: any number."""
    give_up_after: float = GIVE_UP_AFTER
    """Seconds to wait out an outage."""
    engine: str = "live"
    """The engine that processes the rows; a name in `engine.ENGINES`."""
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the engine, by name."""
    progress: ProgressHook | None = None
    """Called with the current figures, ten times a second at most, and at the end."""

    @property
    def errors(self) -> Path:
        """The errors file: ``out.errors.jsonl`` for ``out.jsonl``, ``out.txt.errors.jsonl`` for ``out.txt``."""
        return self.out.with_name(f"{self.out.name.removesuffix('.jsonl')}.errors.jsonl")

    @property
    def ledger(self) -> Path:
        """The file of the ledger."""
        return self.out.with_name(f"{self.out.name}.ledger")


def check_engine_options(engine: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Check that `engine` knows each of `options`.

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
    """Return the settings in the arguments of `LeeLLMRouter.batch`; options that are not a batch's are a call's."""
    own = {name: value for name, value in options.items() if name in _NAMES}
    others = {name: value for name, value in options.items() if name not in _NAMES}
    return BatchSettings(out=Path(fspath(out)), role=role, concurrency=concurrency, options=others, **own)
