"""The command `trace stats`: figures over many calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import ConfigOption, JsonOption, text_of
from lee_llm_router.cli.trace.fields import FieldsOption, checked_fields, picked
from lee_llm_router.cli.trace.filters import takes_filter
from lee_llm_router.cli.trace.reading import FolderOption, nothing_found, tell_skipped, trace_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lee_llm_router.telemetry.query import CallFilter
    from lee_llm_router.telemetry.statistics import GroupStatistics, TraceStatistics


@takes_filter
def stats(
    *,
    wanted: CallFilter,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="NAME",
            help="One row per role, day (UTC), provider, model, failure or metadata.NAME; several with commas"
            " between them. With provider, model or failure, single attempts are counted.",
        ),
    ] = "",
    folder: FolderOption = None,
    as_json: JsonOption = False,
    fields: FieldsOption = None,
    config: ConfigOption = None,
) -> None:
    """Count calls, errors, calls saved by a fallback, times, tokens and cost: for all calls, and for each group.

    A percentile (p50, p95, p99) is a time that really occurred: that many percent of calls took no longer.
    """
    from lee_llm_router.cli.output import say, write_line  # noqa: PLC0415 - help needs none of it
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415
    from lee_llm_router.cli.trace.screen import draw, is_piped  # noqa: PLC0415
    from lee_llm_router.cli.trace.statistics_table import (  # noqa: PLC0415
        STATISTICS_FIELDS,
        estimate_note,
        render_statistics,
    )
    from lee_llm_router.telemetry.statistics import grouping_of, trace_statistics  # noqa: PLC0415

    names = checked_fields(fields, STATISTICS_FIELDS)
    try:
        groups = grouping_of(str(text_of(by, "--by")))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--by") from None
    store = trace_store(folder, config)
    with ProgressLine("reading records of attempts") as line:
        found = trace_statistics(store, groups, wanted, line.advance)
    tell_skipped(store)

    if as_json:
        _write_json(found, groups, names)
    elif found.total.calls:
        draw(lambda console: render_statistics(found, console, plain=is_piped(), names=names))
        if found.estimated and is_piped():
            say(estimate_note(found))
    else:
        write_line(nothing_found(store, wanted))


def _write_json(found: TraceStatistics, groups: Sequence[str], names: Sequence[str] | None) -> None:
    from dataclasses import asdict  # noqa: PLC0415 - as above

    from lee_llm_router.cli.output import write_json  # noqa: PLC0415

    def shown(row: GroupStatistics) -> dict[str, Any]:
        return asdict(row) if names is None else picked(asdict(row), names)

    rows = {"groups": [shown(row) for row in found.groups], "total": shown(found.total)}
    write_json({"by": groups, "unit": found.unit, "estimated": found.estimated, **rows}, indent=2)
