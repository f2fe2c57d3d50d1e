"""The command `trace show`: one complete call. Its figures, its timeline, each attempt, and its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lee_llm_router.cli.arguments import ConfigOption
from lee_llm_router.cli.output import escaped, write_json, write_line
from lee_llm_router.cli.trace.fields import FieldsOption, checked_fields, picked
from lee_llm_router.cli.trace.reading import FolderOption, IdArgument, find_call, trace_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lee_llm_router.telemetry.calls import TracedCall


def show(
    wanted: IdArgument,
    *,
    full: Annotated[bool, typer.Option("--full", help="Show long texts and conversations in full.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the call as JSON, with its records.")] = False,
    fields: FieldsOption = None,
    folder: FolderOption = None,
    config: ConfigOption = None,
) -> None:
    """Show one call: its figures, its attempts and waits on a time axis, why each target was chosen, and the
    messages."""
    from lee_llm_router.cli.trace.call_view import render_call  # noqa: PLC0415 - help draws nothing
    from lee_llm_router.cli.trace.screen import draw, is_piped, takes_marks  # noqa: PLC0415
    from lee_llm_router.cli.trace.summary import CALL_FIELDS, call_data, chosen_data  # noqa: PLC0415

    names = checked_fields(fields, CALL_FIELDS)
    call = find_call(trace_store(folder, config), wanted)
    if as_json:
        write_json(call_data(call) if names is None else picked(chosen_data(call), names), indent=2)
    elif names is not None:
        for line in _field_lines(call, names):
            write_line(escaped(line))
    else:
        draw(lambda console: render_call(call, console, plain=is_piped(), full=full, ascii_only=not takes_marks()))


def _field_lines(call: TracedCall, names: list[str]) -> Iterator[str]:
    """Yield the fields of a call: a single one as its bare text, several on one line each with their names."""
    from lee_llm_router.cli.trace.fields import entry_at  # noqa: PLC0415 - help needs none of it
    from lee_llm_router.cli.trace.figures import value_text  # noqa: PLC0415
    from lee_llm_router.cli.trace.summary import chosen_data  # noqa: PLC0415

    data = chosen_data(call)
    if len(names) == 1:
        value = entry_at(data, names[0])
        yield value if isinstance(value, str) else value_text(value)
        return
    wide = max(map(len, names))
    for name in names:
        yield f"{name:<{wide}}  {value_text(entry_at(data, name))}"
