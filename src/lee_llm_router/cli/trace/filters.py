"""The options that choose calls, for all commands below `trace`."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from lee_llm_router.cli.arguments import roles_beginning_with, text_of

if TYPE_CHECKING:
    from lee_llm_router.telemetry.query import CallFilter


class CallStatusWord(StrEnum):
    """The values of `--status`."""

    ok = "ok"
    error = "error"
    fallback = "fallback"
    cut = "cut"


_TIME_HELP = "A duration before now (30s, 15m, 2h, 3d), or a date or time (2027-01-15, 14:30) in UTC"
_OPTIONS: dict[str, Any] = {
    "role": Annotated[
        str | None,
        typer.Option(
            "--role",
            "-r",
            help="Calls to this role; * matches any text, here and below.",
            autocompletion=roles_beginning_with,
        ),
    ],
    "provider": Annotated[str | None, typer.Option("--provider", help="Calls that asked this provider.")],
    "model": Annotated[str | None, typer.Option("--model", "-m", help="Calls that asked this model.")],
    "status": Annotated[
        CallStatusWord | None,
        typer.Option(
            "--status",
            help="ok: answered. error: not answered. fallback: answered by another target than the first. cut: the"
            " answer reached its token limit.",
        ),
    ],
    "failure": Annotated[
        str | None,
        typer.Option("--failure", help="Calls with an attempt that failed in this way: RATE_LIMIT, timeout."),
    ],
    "since": Annotated[
        str | None, typer.Option("--since", help=f"Calls that began at this time or later. {_TIME_HELP}.")
    ],
    "until": Annotated[
        str | None, typer.Option("--until", help="Calls that began before this time, written as for --since.")
    ],
    "slower_than": Annotated[
        str | None, typer.Option("--slower-than", help="Calls that took at least this long: 800ms, 1.5s.")
    ],
    "metadata": Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="NAME=VALUE", help="Calls with this in their metadata; may be repeated."),
    ],
    "grep": Annotated[
        str | None,
        typer.Option(
            "--grep",
            help="Calls that contain this text anywhere, in any case; prompts and answers too, if captured.",
        ),
    ],
}


def takes_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options that choose calls, and pass it their `CallFilter` as its keyword `wanted`."""

    @wraps(command)
    def with_filter(**given: Any) -> None:
        named = {name: given.pop(name) for name in _OPTIONS}
        command(**given, wanted=call_filter(**named))

    hints = get_type_hints(command, localns={"CallFilter": object}, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "wanted"
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
        if name not in hints
    ]
    with_filter.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    with_filter.__annotations__ = {one.name: one.annotation for one in (*own, *added)}
    del with_filter.__wrapped__
    return with_filter


def call_filter(
    *,
    role: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    status: CallStatusWord | None = None,
    failure: str | None = None,
    since: str | None = None,
    until: str | None = None,
    slower_than: str | None = None,
    metadata: list[str] | None = None,
    grep: str | None = None,
) -> CallFilter:
    """Return the filter that the options mean.

    Raises:
        typer.BadParameter: one is invalid; the message shows the right form.
    """
    from lee_llm_router.telemetry.query import CallFilter, seconds_of  # noqa: PLC0415 - help needs none of it

    now = time.time()
    slower = None
    if slower_than is not None and (slower := seconds_of(slower_than, bare=True)) is None:
        raise typer.BadParameter("write a duration as 800ms, 1.5s or 2m", param_hint="--slower-than")
    return CallFilter(
        role=text_of(role, "--role"),
        provider=text_of(provider, "--provider"),
        model=text_of(model, "--model"),
        status=None if status is None else status.value,
        failure=None if failure is None else _failure_type(failure),
        since=_moment(since, now, "--since"),
        until=_moment(until, now, "--until"),
        slower_than=slower,
        metadata=dict(_entry(str(text_of(one, "--metadata"))) for one in metadata or ()),
        grep=text_of(grep, "--grep") or None,
    )


def _moment(text: str | None, now: float, option: str) -> float | None:
    from lee_llm_router.telemetry.query import moment_of  # noqa: PLC0415 - as above

    if text is None:
        return None
    moment = moment_of(text, now)
    if moment is None:
        raise typer.BadParameter(
            "write a time as 30s, 15m, 2h, 3d (before now), today, yesterday, 2027-01-15, 14:30, 2027-01-15T14:30"
            " (in UTC) or 2027-01-15T14:30+02:00",
            param_hint=option,
        )
    return moment


def _failure_type(word: str) -> str:
    from lee_llm_router._util.suggestions import Suggester  # noqa: PLC0415 - as above
    from lee_llm_router.errors import FailureType  # noqa: PLC0415

    known = [one.value for one in FailureType]
    name = word.strip().upper().replace("-", "_")
    if name in known:
        return name
    hint = Suggester().did_you_mean(name, known)
    raise typer.BadParameter(f"no such type of failure{hint}; there are: {', '.join(known)}", param_hint="--failure")


def _entry(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter("write an entry as NAME=VALUE: tenant=acme", param_hint="--metadata")
    return name, value
