"""Answers the rows of a Ray dataset: `RouterStage` is a class for `Dataset.map_batches`.

    ds = ray.data.read_parquet("questions.parquet")
    ds.map_batches(
        RouterStage,
        fn_constructor_kwargs={"config": load_config("llm.yaml"), "role": "planner"},
        concurrency=2,
    ).write_parquet("answers")

This module does not import Ray: Ray passes in batches of NumPy, pandas or Arrow, and gets them back in the same form.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from uuid import uuid4

from lee_llm_router.batch.answers import RowOutcome, broken_outcome
from lee_llm_router.batch.handed_rows import HandedRows
from lee_llm_router.batch.rows import BatchRow, BrokenRow, RowForm
from lee_llm_router.batch.template import PromptTemplate
from lee_llm_router.errors import ConfigError
from lee_llm_router.integrations.ray_columns import (
    ANSWER_COLUMNS,
    cells_of,
    columns_of,
    names_of,
    plain_value,
    with_columns,
)
from lee_llm_router.router import LeeLLMRouter

if TYPE_CHECKING:
    from lee_llm_router.config.models import LLMConfig

RayBatch: TypeAlias = Any
"""A batch as Ray passes it: columns by name as NumPy arrays, a pandas DataFrame, or an Arrow table."""


class RouterStage:
    """Asks a role for each row of a dataset, and adds columns with the answer. Each actor has one, with one router.

    A failed row has the failure in its columns, and the dataset goes on. Limits, breakers and budgets apply to one
    actor, unless the configuration shares them (``state: {type: redis, ...}``).

    Args:
        config: The configuration: the result of `load_config`, or a mapping; these travel with the stage. A path is
            read where the actor runs, so it must be absolute, and the same on each machine. Keys come from the
            environment of the actor.
        role: Role to call. None: the default role.
        prompt: Column with the prompts.
        messages: Column with messages in the OpenAI shape, as lists or as JSON text; instead of `prompt`.
        template: Text that makes the prompt from columns, ``Translate to {language}: {text}``; instead of both.
        id: Column whose value is recorded in the traces, under ``metadata: {row: ...}``.
        system: Instructions for all rows.
        concurrency: Rows that one actor processes at once.
        options: Options of each call: ``{"temperature": 0, "schema": {...}}``.
        give_up_after: Seconds to wait out an outage. After that, rows fail because of it.
        prefix: Prefix of the names of the new columns.

    Raises:
        ConfigError: the configuration or the template cannot be used, or there is more than one source of prompts.
    """

    def __init__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any],
        role: str | None = None,
        *,
        prompt: str | None = None,
        messages: str | None = None,
        template: str | None = None,
        id: str | None = None,
        system: str | None = None,
        concurrency: int = 16,
        options: Mapping[str, Any] | None = None,
        give_up_after: float = 600.0,
        prefix: str = "answer_",
    ) -> None:
        if sum(source is not None for source in (prompt, messages, template)) > 1:
            raise ConfigError("a stage has one source of prompts: prompt, messages or template", sent=False)
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigError("concurrency is a number of rows, at least 1", sent=False)
        self._source = messages or prompt or "prompt"
        self._has_messages = messages is not None
        self._template = None if template is None else PromptTemplate(template)
        self._form = RowForm(self._template, system)
        self._id = id
        self._prefix = prefix
        self._handed = HandedRows(
            router=LeeLLMRouter(config), role=role, options=dict(options or {}), batch_id=f"ray-{uuid4()}",
            give_up_after=give_up_after, concurrency=concurrency,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="lee-llm-router-stage", daemon=True).start()

    def __call__(self, batch: RayBatch) -> RayBatch:
        """Return `batch` with the answers in its new columns: `ANSWER_COLUMNS`, each with the prefix.

        Raises:
            ConfigError: a required column is missing, or a new column exists already.
        """
        rows = self._rows(batch)
        outcomes = asyncio.run_coroutine_threadsafe(self._answer_all(rows), self._loop).result()
        columns = columns_of([outcome.plain_fields() for outcome in outcomes])
        return with_columns(batch, {self._prefix + name: column for name, column in columns.items()})

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a RouterStage cannot be pickled: it holds connections. Give map_batches the class, and its arguments as"
            " fn_constructor_kwargs"
        )

    def _rows(self, batch: RayBatch) -> list[BatchRow | BrokenRow]:
        names = names_of(batch)
        needed = [self._source] if self._template is None else sorted(self._template.fields)
        needed += [] if self._id is None else [self._id]
        if missing := [name for name in needed if name not in names]:
            raise ConfigError(f"the dataset has no column {missing[0]!r}; there are: {', '.join(names)}", sent=False)
        if taken := [name for name in ANSWER_COLUMNS if self._prefix + name in names]:
            raise ConfigError(
                f"the dataset has a column {self._prefix + taken[0]!r} already: choose another prefix", sent=False
            )
        cells = {name: cells_of(batch, name) for name in needed}
        count = len(cells[needed[0]])
        return [self._row({name: column[at] for name, column in cells.items()}, at + 1) for at in range(count)]

    def _row(self, fields: dict[str, Any], line: int) -> BatchRow | BrokenRow:
        row_id = None if self._id is None else fields[self._id]
        value: dict[str, Any] = {} if row_id is None else {"id": row_id}
        if self._template is not None:
            value = {**fields, **value}
        elif self._has_messages:
            value["messages"] = plain_value(fields[self._source], is_json=True)
        else:
            value["prompt"] = fields[self._source]
        return self._form.row(value, line)

    async def _answer_all(self, rows: Sequence[BatchRow | BrokenRow]) -> list[RowOutcome]:
        asked: dict[str, BatchRow] = {}
        places: list[str | None] = []
        for row in rows:
            place = None
            if isinstance(row, BatchRow):
                # Two rows may have the same id here.
                place = next(name for at in count(1) if (name := row.repeated(at).id) not in asked)
                asked[place] = replace(row, id=place)
            places.append(place)
        found = await self._handed.outcomes(list(asked.values()))
        return [
            broken_outcome(row) if isinstance(row, BrokenRow) else found[str(place)]
            for row, place in zip(rows, places, strict=True)
        ]
