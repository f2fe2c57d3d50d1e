"""Which store the commands below `trace` read, and which call a user means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router._util.printable import printable
from lee_llm_router.cli.arguments import text_of
from lee_llm_router.cli.output import escaped, say

if TYPE_CHECKING:
    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.query import CallFilter
    from lee_llm_router.telemetry.scanning import TraceScanner

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        exists=True,
        file_okay=False,
        help="Folder of traces. Default: the configuration's, else .lee-llm-router/traces.",
    ),
]
_SHOWN_IDS = 10
_SHORTEST_END = 4
"""Shortest end of an id that identifies a call, in characters."""
_NEAR = 1000
"""The newest calls, searched first for the end of an id: listings show such ends."""
_COMPLETED = 30
_before_command: ContextVar[tuple[Path | None, Path | None]] = ContextVar("before_command", default=(None, None))
"""The folder and the configuration given before the current command."""
_FOR_ALL = ("folder", "config")
"""Parameters of `trace` that also apply to its subcommands."""


def trace_store(folder: Path | None, config: Path | None = None, *, quiet: bool = False) -> TraceScanner:
    """Return the store of `folder`, or else the one that `complete` would write to from here.

    If neither is given, options before the command count: ``trace --dir traces show @1``.

    Args:
        folder: A folder of daily files, or one with a SQLite file.
        config: A configuration file.
        quiet: Whether to say nothing about an unusable configuration.

    Raises:
        ConfigError: the given configuration cannot be used, or its store cannot be read.
    """
    if folder is None and config is None:
        folder, config = _before_command.get()
    from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore  # noqa: PLC0415

    if folder is not None:
        from lee_llm_router.telemetry.stores.open import store_in  # noqa: PLC0415

        return store_in(folder)
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.config.load import load_config  # noqa: PLC0415
    from lee_llm_router.errors import ConfigError  # noqa: PLC0415
    from lee_llm_router.telemetry.records import TraceReader  # noqa: PLC0415
    from lee_llm_router.telemetry.scanning import scanner_of  # noqa: PLC0415
    from lee_llm_router.telemetry.stores.open import open_store  # noqa: PLC0415

    try:
        path = find_config(config)
    except ConfigError:
        return LocalFileTraceStore()
    try:
        settings = load_config(path).trace
    except ConfigError as error:
        if config is not None:
            raise
        files = LocalFileTraceStore(workspace=path.parent)  # their place unless the file says otherwise
        if not quiet:
            say(f"{error.message}: looking in {files.trace_dir}")
        return files
    store = open_store(settings)
    if not isinstance(store, TraceReader):
        raise ConfigError(
            f"traces of the store {settings.store.type!r} cannot be read here: it has no `last` and `find`"
        )
    return scanner_of(store)


def store_path(store: object) -> os.PathLike[str] | None:
    """Return the file or the folder of `store`; None if it has none."""
    found = getattr(store, "path", None) or getattr(store, "trace_dir", None)
    return found if isinstance(found, os.PathLike) else None


def nothing_found(store: object, wanted: CallFilter) -> str:
    """Return the message for no matching call, with the place that was searched."""
    none = "no calls traced" if wanted.is_open else "no such calls traced"
    place = store_path(store)
    return escaped(none if place is None else f"{none} in {os.fspath(place)}")


def tell_skipped(store: object) -> None:
    """Report how many lines of the store were unreadable, if there were any."""
    if skipped := getattr(store, "skipped", 0):
        say(f"unreadable lines skipped: {skipped}")


def named_config(config: Path | None) -> Path | None:
    """Return the given configuration: after the command, or else before it."""
    return config if config is not None else _before_command.get()[1]


def take_options_before_command(ctx: typer.Context) -> None:
    """Store the options before a command for it: `--dir` and `--config`. It would ignore the options of the listing.

    Raises:
        typer.BadParameter: such an option is given; the message names it.
    """
    _before_command.set((None, None))
    if ctx.invoked_subcommand is None:
        return
    given = [name for name in ctx.params if name not in _FOR_ALL and _is_given(ctx, name)]
    if given:
        option = "--" + given[0].removeprefix("as_").replace("_", "-")
        raise typer.BadParameter(f"put it after the command: trace {ctx.invoked_subcommand} {option} ...",
                                 param_hint=option)  # fmt: skip
    _before_command.set(_places_in(ctx.params))


def _places_in(given: Mapping[str, Any]) -> tuple[Path | None, Path | None]:
    """Return the folder and the configuration in the parameters `given`: older versions of typer have them as texts."""
    folder, config = (None if given.get(name) is None else Path(given[name]) for name in _FOR_ALL)
    return folder, config


def find_call(store: TraceScanner, wanted: str) -> TracedCall:
    """Return the call that `wanted` names: an id, the unique beginning or end of one, or ``@1`` for the newest.

    Raises:
        typer.BadParameter: there is no such call, or there are several; the message names them.
    """
    from lee_llm_router.telemetry.calls import TracedCall  # noqa: PLC0415

    wanted = str(text_of(wanted.strip(), "ID"))
    if wanted.startswith("@"):
        return _newest(store, wanted)
    ids = [wanted] if store.find(wanted) else _ids_like(store, wanted) if wanted else []
    if not ids:
        raise typer.BadParameter(f"no call with the id {printable(wanted)!r}; `trace` lists them", param_hint="ID")
    if len(ids) > 1:
        shown = ", ".join(map(printable, ids[:_SHOWN_IDS])) + (", ..." if len(ids) > _SHOWN_IDS else "")
        raise typer.BadParameter(f"more than one call matches this id: {shown}", param_hint="ID")
    return TracedCall(tuple(store.find(ids[0])))


def ids_beginning_with(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest calls whose ids a shell may complete `incomplete` to, with a short description of each."""
    from lee_llm_router.telemetry.calls import calls_from  # noqa: PLC0415

    given = {**(ctx.parent.params if ctx.parent else {}), **{k: v for k, v in ctx.params.items() if v is not None}}
    try:
        calls = calls_from(trace_store(*_places_in(given), quiet=True).last(_COMPLETED))
    except Exception:  # noqa: BLE001 - a shell asks while somebody types: it gets ids or nothing
        return []
    return [
        (call.request_id, f"{printable(call.role)}: {call.outcome}")
        for call in reversed(calls)
        if call.request_id.startswith(incomplete) and call.request_id.isprintable()
    ]


def _newest(store: TraceScanner, wanted: str) -> TracedCall:
    from lee_llm_router.telemetry.calls import calls_from  # noqa: PLC0415

    number = int(wanted[1:]) if wanted[1:].isdecimal() and len(wanted) < 12 else 0
    if number < 1:
        raise typer.BadParameter("@ is followed by a number: @1 is the newest call", param_hint="ID")
    if number <= _NEAR:
        calls = calls_from(store.last(number))
        call = calls[0] if len(calls) == number else None
    else:
        call = next(islice(store.calls(), number - 1, None), None)
    if call is None:
        told = "no calls traced yet" if number == 1 else f"there are fewer than {number} calls"
        raise typer.BadParameter(told, param_hint="ID")
    return call


def _ids_like(store: TraceScanner, wanted: str) -> list[str]:
    """Return the ids that begin with `wanted`, or else those of the newest calls that end with it, or else the newest
    of all."""
    from lee_llm_router.telemetry.calls import calls_from  # noqa: PLC0415

    if found := store.ids(wanted, _SHOWN_IDS + 1) or store.ids(wanted.lower(), _SHOWN_IDS + 1):
        return found
    wanted = wanted.lower()
    if len(wanted) < _SHORTEST_END:
        return []
    near = [call.request_id for call in calls_from(store.last(_NEAR)) if call.request_id.lower().endswith(wanted)]
    # For older calls take the newest one: reading stops there, and an end this long is nearly always unique.
    older = (call.request_id for call in store.calls() if call.request_id.lower().endswith(wanted))
    return near or list(islice(older, 1))


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The call: its id, the start or end of its id, or @1 for the newest, @2 for the one before.",
        autocompletion=ids_beginning_with,
    ),
]
