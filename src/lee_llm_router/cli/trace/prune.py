"""The command `trace prune`: deletes old traces, after showing which."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router._util.counted_things import counted
from lee_llm_router.cli.arguments import ConfigOption, JsonOption, text_of
from lee_llm_router.cli.output import PROGRAM, escaped, say, write_json, write_line
from lee_llm_router.cli.trace.reading import FolderOption, trace_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lee_llm_router.telemetry.stores.prune_plan import PrunePlan

_MEGABYTE = 1_000_000


def prune(
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help="Delete what was written longer ago than this: 30d, 12h. From files, whole days.",
        ),
    ] = None,
    keep_mb: Annotated[
        float | None,
        typer.Option("--keep-mb", min=0, help="Keep the newest traces up to this many megabytes; delete the rest."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    folder: FolderOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete old traces, after showing what goes and what remains, and asking.

    Only the store's own files are touched. With both --older-than and --keep-mb, traces that match either one are
    deleted.
    """
    from dataclasses import asdict  # noqa: PLC0415 - help needs none of it

    from lee_llm_router.errors import ConfigError  # noqa: PLC0415
    from lee_llm_router.telemetry.stores.pruning import pruners_of  # noqa: PLC0415

    before = _moment(older_than, everything=everything, keep_mb=keep_mb)
    pruners = pruners_of(trace_store(folder, config))
    if not pruners:
        raise ConfigError("the traces of this store cannot be deleted here: it has no `pruners`")
    plans = [pruner.plan(before, None if keep_mb is None else keep_mb * _MEGABYTE) for pruner in pruners]
    if not as_json:
        for plan in plans:
            write_line(escaped(_sentence(plan)))
    does_it = not dry_run and any(plan.gone for plan in plans) and _is_agreed(yes)
    deleted = [pruner.carry_out(plan) if does_it else 0 for pruner, plan in zip(pruners, plans, strict=True)]
    if as_json:
        write_json([_row(asdict(plan), done) for plan, done in zip(plans, deleted, strict=True)], indent=2)
    elif does_it:
        write_line(_summary(plans, deleted))


def _moment(older_than: str | None, *, everything: bool, keep_mb: float | None) -> float | None:
    """Return the time before which everything is deleted; None if age does not matter.

    Raises:
        typer.BadParameter: nothing was requested, or the value is invalid.
    """
    import time  # noqa: PLC0415 - as above
    from math import inf  # noqa: PLC0415

    from lee_llm_router.telemetry.query import seconds_of  # noqa: PLC0415

    if everything:
        if older_than is not None or keep_mb is not None:
            raise typer.BadParameter("it cannot be combined with --older-than or --keep-mb", param_hint="--all")
        return inf
    if older_than is None:
        if keep_mb is None:
            raise typer.BadParameter("say what to delete: --older-than 30d, --keep-mb 500 or --all")
        return None
    seconds = seconds_of(str(text_of(older_than, "--older-than")))
    if seconds is None:
        raise typer.BadParameter("write a duration as 30d, 12h or 2w", param_hint="--older-than")
    return time.time() - seconds


def _is_agreed(yes: bool) -> bool:
    """Return whether the user agrees.

    Raises:
        typer.BadParameter: there is nobody to ask.
        typer.Exit: the answer is no.
    """
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to confirm at: use --yes or --dry-run", param_hint="--yes")
    if typer.confirm("Delete?", err=True):
        return True
    say(f"{PROGRAM}: nothing was deleted")
    raise typer.Exit(1)


def _sentence(plan: PrunePlan) -> str:
    kept = f"kept: {_counted(plan.kept, plan.unit)} ({_size(plan.kept_bytes)}) in {plan.place}"
    if not plan.gone:
        return f"nothing to delete; {kept}"
    span = plan.first if plan.first == plan.last else f"{plan.first} to {plan.last}"
    return f"to delete: {_counted(plan.gone, plan.unit)} ({_size(plan.gone_bytes)}), {span}; {kept}"


def _summary(plans: Sequence[PrunePlan], deleted: Sequence[int]) -> str:
    return "deleted: " + ", ".join(
        _counted(number, plan.unit) for plan, number in zip(plans, deleted, strict=True) if plan.gone
    )


def _row(plan: dict[str, Any], deleted: int) -> dict[str, Any]:
    del plan["what"]
    return {**plan, "place": str(plan["place"]), "deleted": deleted}


def _counted(number: int, unit: str) -> str:
    return counted(number, unit.removesuffix("s"))


def _size(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"
