"""Which store the commands below `trace` read, and which call a user means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lee_llm_router.cli.output import say

if TYPE_CHECKING:
    from lee_llm_router.telemetry.calls import TracedCall
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


def trace_store(folder: Path | None, config: Path | None = None) -> TraceScanner:
    """Return the store of `folder`, else the one that `complete` writes to when called from here."""
    from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore  # noqa: PLC0415

    if folder is not None:
        return LocalFileTraceStore(folder)
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
        files = LocalFileTraceStore(workspace=path.parent)  # where they lie unless the file says otherwise
        say(f"{error.message}: looking in {files.trace_dir}")
        return files
    store = open_store(settings)
    if not isinstance(store, TraceReader):
        raise ConfigError(f"traces of the store {settings.store.type!r} cannot be read here: it has no last and find")
    return scanner_of(store)


def find_call(store: TraceScanner, wanted: str) -> TracedCall:
    """Return the call that `wanted` names: an id, the beginning or the end of one id alone, or ``@1`` for the newest.

    Raises:
        typer.BadParameter: there is no such call, or there are several; they are named.
    """
    from itertools import islice  # noqa: PLC0415

    from lee_llm_router.telemetry.calls import TracedCall  # noqa: PLC0415

    if wanted.startswith("@"):
        number = int(wanted[1:]) if wanted[1:].isdecimal() and len(wanted) < 12 else 0
        if number < 1:
            raise typer.BadParameter("after @ stands a number: @1 is the newest call", param_hint="ID")
        call = next(islice(store.calls(), number - 1, None), None)
        if call is None:
            raise typer.BadParameter(f"there are fewer than {number} calls", param_hint="ID")
        return call
    ids = [wanted] if store.find(wanted) else store.ids(wanted, _SHOWN_IDS + 1) if wanted else []
    if not ids:
        raise typer.BadParameter("no call with this id", param_hint="ID")
    if len(ids) > 1:
        shown = ", ".join(ids[:_SHOWN_IDS]) + (", ..." if len(ids) > _SHOWN_IDS else "")
        raise typer.BadParameter(f"more than one call begins so: {shown}", param_hint="ID")
    return TracedCall(tuple(store.find(ids[0])))
