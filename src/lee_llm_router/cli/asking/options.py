"""The options of the commands that ask, or explain what asking would do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import roles_beginning_with, text_of

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter

RoleOption = Annotated[
    str | None,
    typer.Option("--role", "-r", help="Role to ask. Default: the default role.", autocompletion=roles_beginning_with),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Model for the targets that would use the role's.")
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="VENDOR/MODEL",
        help="Ask this vendor/model, without a configuration. Several form a chain, in the order given.",
    ),
]
SystemOption = Annotated[str | None, typer.Option("--system", "-s", help="Instructions for the model.")]
FileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--file", "-f", metavar="FILE", help="File to send along: text, a PDF, an image or audio. - is standard input."
    ),
]
ImageOption = Annotated[
    list[str] | None,
    typer.Option("--image", "-i", metavar="FILE|URL", help="Image to send along: a file or a URL."),
]
ToolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tool",
        metavar="FILE",
        help="Tools to offer: a Python file's functions (FILE.py, FILE.py:NAME), or definitions (FILE.json).",
    ),
]
SchemaOption = Annotated[
    str | None,
    typer.Option("--schema", help='What the answer must fit: "name, age int", or a JSON Schema as text or in a file.'),
]
TemperatureOption = Annotated[float | None, typer.Option("--temperature", "-t", min=0, help="Sampling temperature.")]
MaxTokensOption = Annotated[int | None, typer.Option("--max-tokens", min=1, help="Upper bound on generated tokens.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="NAME=VALUE", help="Any other option of a call: seed=3, top_p=0.9."),
]

CALL_ARGUMENTS = frozenset({"self", "role", "messages"})
"""Parameters of a router's calls with other meanings, so that no option can have their names."""


def call_options(
    *,
    model: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    settings: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Return the call options on the command line.

    Raises:
        typer.BadParameter: a setting is not ``NAME=VALUE``, is no option, or is given twice.
    """
    named = {"model": text_of(model, "--model"), "temperature": temperature, "max_tokens": max_tokens}
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    for name, value in named_values(settings, "--option").items():
        if name in CALL_ARGUMENTS:
            raise typer.BadParameter(f"{name} is not an option of a call", param_hint="--option")
        if options.setdefault(name, value) is not value:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--option")
    return options


def named_values(settings: Iterable[str] | None, option: str) -> dict[str, Any]:
    """Return the values in texts of the form ``NAME=VALUE``; messages call them `option`.

    Raises:
        typer.BadParameter: one has another form, or a name is given twice.
    """
    values: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, value = str(text_of(setting, option)).partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise typer.BadParameter(f"{setting!r:.60} is not of the form NAME=VALUE", param_hint=option)
        if name in values:
            raise typer.BadParameter(f"{name} is given twice", param_hint=option)
        values[name] = _value(value)
    return values


def question_options(
    *,
    tools: Iterable[str] | None = None,
    schema: str | None = None,
    **others: Any,
) -> dict[str, Any]:
    """As `call_options`, with tools and schema from files.

    Raises:
        typer.BadParameter: as `call_options`, or one of the files cannot be used.
    """
    from lee_llm_router.cli.asking.schema_text import read_schema  # noqa: PLC0415
    from lee_llm_router.cli.asking.tool_files import read_tools  # noqa: PLC0415

    options = call_options(**others)
    for name, value in (("tools", read_tools(tools) or None), ("schema", read_schema(schema))):
        if value is not None and options.setdefault(name, value) is not value:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--option")
    return options


def _value(text: str) -> Any:
    """Return `text` as a JSON value, or else the text itself: ``seed=3``, ``stop=END``, ``stop=["a","b"]``.

    Accepts numbers like ``.5``, and true and false with a capital letter.
    """
    plain = text.strip()
    if plain in ("True", "False"):
        return plain == "True"
    number = re.fullmatch(r"([+-]?)(\d*)\.(\d*)", plain)
    if number is not None and (number[2] or number[3]):
        return float(plain)
    try:
        return json.loads(plain)
    except (ValueError, RecursionError):
        return text


def router_for(targets: Iterable[str] | None, config: Path | None, **options: Any) -> LeeLLMRouter:
    """Return the router for a command: from named `targets`, or else from the configuration.

    Raises:
        ConfigError: it cannot be built.
    """
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.router import LeeLLMRouter  # noqa: PLC0415

    named = [str(text_of(one, "--target")) for one in targets or ()]
    return LeeLLMRouter.of(*named, **options) if named else LeeLLMRouter.from_file(find_config(config), **options)


def check_targets(targets: list[str] | None, *others: object) -> None:
    """Refuse named targets together with what only a configuration has: a role, its model, its file.

    Raises:
        typer.BadParameter: both are given.
    """
    if targets and any(other is not None for other in others):
        raise typer.BadParameter("it cannot be combined with --role, --model or --config", param_hint="--target")
