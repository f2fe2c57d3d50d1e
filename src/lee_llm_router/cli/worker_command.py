"""The command `worker`: answers rows of batches that others have put into a database."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from lee_llm_router.cli.arguments import ConfigOption, check_role, roles_beginning_with, text_of

DATABASE_VARIABLE = "LEE_LLM_ROUTER_DB"
"""Names the database where `--db` does not: an argument can be read by everybody on the machine."""

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help=f"Database of the rows: postgresql://user@host/name or sqlite:///rows.db. Default: ${DATABASE_VARIABLE}.",
    ),
]


def worker(
    db: DatabaseOption = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", "-r", help="Role whose rows are answered; several are given. Default: every role of the"
            " configuration.", autocompletion=roles_beginning_with,
        ),
    ] = None,
    idle: Annotated[
        float | None, typer.Option("--exit-when-idle", metavar="SECONDS", min=1, help="End after so long without rows.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Seconds that rows under way are given at the end.")
    ] = 20.0,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Answer the rows that `batch --engine dbos` puts into a database, until it is stopped by Ctrl-C or SIGTERM.

    Any number of workers, on any number of machines, share the work. If one dies, others take over its rows.
    """
    from lee_llm_router.cli.output import PROGRAM, escaped, say  # noqa: PLC0415
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.router import LeeLLMRouter  # noqa: PLC0415

    address = database_address(db)
    with LeeLLMRouter.from_file(find_config(config)) as router:
        roles = [str(text_of(one, "--role")) for one in role or ()]
        for one in roles:
            check_role(one, router.config.roles)
        from lee_llm_router.batch.durable.database import BatchDatabase  # noqa: PLC0415 - the extra

        database = BatchDatabase(address)
        from lee_llm_router.batch.durable.asking import RowAsker  # noqa: PLC0415 - the extra
        from lee_llm_router.batch.durable.worker import DurableWorker  # noqa: PLC0415 - the extra

        asker = RowAsker(router)
        working = DurableWorker(database, roles or sorted(router.config.roles), asker, patience=patience)

        def shown() -> str:
            waiting = f", waiting: {asker.figures.waiting_for}" if asker.figures.waiting_for else ""
            return f"{working.rows_taken:,} rows taken, {working.rows_under_way:,} under way{waiting}"

        try:
            with ProgressLine() as line, working:
                say(escaped(f"{PROGRAM}: answering rows from {database.shown}; Ctrl-C ends it"))
                line.tell(shown)
                working.wait(idle)
                line.tell("finishing the rows under way")
        finally:
            database.close()
        say(f"{PROGRAM}: {working.rows_taken:,} rows taken")
        if working.failure is not None:
            raise working.failure


def database_address(given: str | None) -> str:
    """Return the address of the database: the option, else the variable.

    Raises:
        typer.BadParameter: there is neither.
    """
    address = (text_of(given, "--db") or os.environ.get(DATABASE_VARIABLE, "")).strip()
    if not address:
        raise typer.BadParameter(
            f"name the database: --db postgresql://user@host/name or sqlite:///rows.db, or ${DATABASE_VARIABLE}",
            param_hint="--db",
        )
    return address
