"""The command `worker`: answers rows of batches that others have put into a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lee_llm_router.cli.arguments import ConfigOption, check_role, roles_beginning_with, text_of

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="Database of the rows: postgresql://user@host/name or sqlite:///rows.db. Default: $LEE_LLM_ROUTER_DB.",
    ),
]


def worker(
    db: DatabaseOption = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", "-r", help="Role whose rows to answer; may be given several times. Default: every role"
            " of the configuration.", autocompletion=roles_beginning_with,
        ),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option("--exit-when-idle", metavar="SECONDS", min=1, help="End after so many seconds without rows.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Seconds to wait at the end for rows in progress.")
    ] = 20.0,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Answer the rows that `batch --engine dbos` puts into a database, until Ctrl-C or SIGTERM.

    Any number of workers, on any number of machines, share the work. If one dies, others take over its rows.
    """
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.router import LeeLLMRouter  # noqa: PLC0415

    address, roles = text_of(db, "--db"), [str(text_of(one, "--role")) for one in role or ()]
    with LeeLLMRouter.from_file(find_config(config)) as router:
        for one in roles:
            check_role(one, router.config.roles)
        _work(router, address, roles or sorted(router.config.roles), idle=idle, patience=patience)


def _work(router: LeeLLMRouter, address: str | None, roles: list[str], *, idle: float | None, patience: float) -> None:
    """Answer rows of `roles` until the worker is stopped.

    Raises:
        LLMRouterError: no more rows can be answered.
    """
    from lee_llm_router.batch.durable.asking import RowAsker  # noqa: PLC0415
    from lee_llm_router.batch.durable.database import BatchDatabase  # noqa: PLC0415
    from lee_llm_router.batch.durable.settings import DurableSettings  # noqa: PLC0415
    from lee_llm_router.cli.output import PROGRAM, escaped, say  # noqa: PLC0415
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415

    database = BatchDatabase(DurableSettings.of({"db": address}).db)
    from lee_llm_router.batch.durable.worker import DurableWorker  # noqa: PLC0415 - the extra, which is there now

    asker = RowAsker(router)
    worker = DurableWorker(database, roles, asker, patience=patience)

    def shown() -> str:
        waiting = f", waiting: {asker.figures.waiting_for}" if asker.figures.waiting_for else ""
        return f"{worker.rows_taken:,} rows taken, {worker.rows_under_way:,} in progress{waiting}"

    try:
        with ProgressLine() as line, worker:
            say(escaped(f"{PROGRAM}: answering rows from {database.shown}; Ctrl-C ends it"))
            line.tell(shown)
            worker.wait(idle)
            line.tell("finishing the rows in progress")
    finally:
        database.close()
    say(f"{PROGRAM}: {worker.rows_taken:,} rows taken")
    if worker.failure is not None:
        raise worker.failure
