"""The command `batch`: asks about many rows, and writes one answer each to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lee_llm_router.cli.arguments import ConfigOption, JsonOption, check_role, text_of
from lee_llm_router.cli.asking.options import (
    MaxTokensOption,
    ModelOption,
    RoleOption,
    SchemaOption,
    SystemOption,
    TargetOption,
    TemperatureOption,
    check_targets,
    named_values,
    question_options,
    router_for,
)

if TYPE_CHECKING:
    from lee_llm_router.batch.settings import RowFormat

_FORMATS = "jsonl, csv, tsv, text"


RowsArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="The rows: JSON lines, CSV, or text. - is standard input.")
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="File for the answers, one per line.")
]
TemplateOption = Annotated[
    str | None,
    typer.Option("--template", metavar="TEXT|FILE", help="The prompt, with fields in braces: 'Translate {text}'."),
]
CallOption = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Any other option of a call: seed=3, deadline=60."),
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help=f"Format of the file: {_FORMATS}. Default: by its name.")
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option("--concurrency", "-c", min=1, help="Rows to ask at once. Default: as many as the limits allow."),
]
OrderedOption = Annotated[bool, typer.Option("--ordered", help="Write the answers in the order of the rows.")]
RetryErrorsOption = Annotated[bool, typer.Option("--retry-errors", help="Ask rows that have failed before again.")]
AppendOption = Annotated[
    bool, typer.Option("--append", help="Append to an output that was made from another input or with other settings.")
]
MaxFailuresOption = Annotated[
    int | None, typer.Option("--max-failures", min=0, help="Stop once more rows than this have failed. Default: never.")
]
GiveUpOption = Annotated[
    float | None,
    typer.Option(
        "--give-up-after", min=0, metavar="SECONDS", help="How long to wait for an outage to end. Default: a day."
    ),
]
EngineOption = Annotated[str, typer.Option("--engine", help="What asks the rows: live (this process), dbos, vendor.")]
DatabaseOption = Annotated[str | None, typer.Option("--db", metavar="URL", help="Database of the engine dbos.")]
EngineSettingOption = Annotated[
    list[str] | None, typer.Option("--engine-option", metavar="NAME=VALUE", help="Any other setting of the engine.")
]


def batch(
    rows: RowsArgument,
    *,
    out: OutputOption,
    role: RoleOption = None,
    model: ModelOption = None,
    target: TargetOption = None,
    template: TemplateOption = None,
    system: SystemOption = None,
    schema: SchemaOption = None,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    setting: CallOption = None,
    row_format: FormatOption = None,
    concurrency: ConcurrencyOption = None,
    ordered: OrderedOption = False,
    retry_errors: RetryErrorsOption = False,
    append: AppendOption = False,
    max_failures: MaxFailuresOption = None,
    give_up_after: GiveUpOption = None,
    engine: EngineOption = "live",
    database: DatabaseOption = None,
    engine_setting: EngineSettingOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask a role about each row of a file, and write each answer as a line of JSON.

    Rows that fail go to a separate file, OUTPUT.errors.jsonl. To continue an interrupted batch, run the same command
    again. An outage makes the batch wait. The exit code is 0 once each row has its answer, otherwise 1.
    """
    from lee_llm_router.batch.settings import GIVE_UP_AFTER, BatchSettings  # noqa: PLC0415
    from lee_llm_router.cli.batch_run import run_batch  # noqa: PLC0415

    role = text_of(role, "--role")
    check_targets(target, role, model, config)
    options = question_options(
        model=model, temperature=temperature, max_tokens=max_tokens, settings=setting, schema=schema
    )
    settings = BatchSettings(
        role=role, out=out, options=options, concurrency=concurrency, template=_template(template),
        system=text_of(system, "--system"), row_format=cast("RowFormat | None", row_format), ordered=ordered,
        retry_errors=retry_errors, append=append, max_failures=max_failures, engine=engine,
        engine_options=_engine_options(engine_setting, database),
        give_up_after=GIVE_UP_AFTER if give_up_after is None else give_up_after,
    )  # fmt: skip
    with router_for(target, config) as router:
        check_role(role, router.config.roles)
        if not run_batch(router, rows, settings, as_json=as_json):
            raise typer.Exit(1)


def _engine_options(named: list[str] | None, database: str | None) -> dict[str, Any]:
    options = named_values(named, "--engine-option")
    return options if database is None else {**options, "db": database}


def _template(given: str | None) -> str | None:
    """Return the template `given`, or the content of the file of that name."""
    text = text_of(given, "--template")
    if text is None or "{" in text:
        return text
    path = Path(text)
    try:
        if not path.is_file():
            raise typer.BadParameter(
                "it has no field of a row in braces, and there is no such file", param_hint="--template"
            )
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise typer.BadParameter(f"{path}: cannot be read: {reason}", param_hint="--template") from None
