"""The commands that help to set up the router: a list of choices, and a file to start from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lee_llm_router.cli.arguments import ConfigOption, JsonOption, text_of
from lee_llm_router.cli.output import escaped, terminal_columns, write_json, write_line, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping


def providers(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List vendors, local servers and installed types, their addresses, and whether their keys are set now.

    Keys are read from the environment, and from the .env next to the configuration if there is one.
    """
    from lee_llm_router.cli.provider_list import listed_providers, render_providers  # noqa: PLC0415

    listed = listed_providers({**_env_file_of(config), **os.environ})
    if as_json:
        write_json(listed, indent=2)
    else:
        write_line(escaped(render_providers(listed, terminal_columns() if sys.stdout.isatty() else None)))


def init(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; - prints it. Default: lee-llm-router.yaml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a configuration from the keys that are set, the agents that are logged in, and the models on this machine.

    It contains no key, only the names of variables with keys. Nothing is sent.
    """
    from lee_llm_router.cli.found_models import found_models  # noqa: PLC0415
    from lee_llm_router.cli.starting_file import next_steps, starting_text, write_starting_file  # noqa: PLC0415
    from lee_llm_router.config.discovery import CONFIG_NAMES  # noqa: PLC0415

    path = Path(text_of(str(output), "--output") or "") if output is not None else Path(CONFIG_NAMES[0])
    models = found_models(os.environ, _env_file_beside(path))
    text = starting_text(models)
    if str(path) == "-":
        write_text(text)
        return
    write_starting_file(path, text, replace=force)
    write_line(escaped(next_steps(path, models)))


def _env_file_of(config: Path | None) -> Mapping[str, str]:
    """Return the variables of the `.env` next to the configuration; none without a configuration, which is optional."""
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.errors import ConfigError  # noqa: PLC0415

    try:
        return _env_file_beside(find_config(config))
    except ConfigError:
        return {}


def _env_file_beside(path: Path) -> Mapping[str, str]:
    from lee_llm_router.config.env_file import read_env_file  # noqa: PLC0415

    try:
        beside = read_env_file(str(path.absolute()))
    except OSError:
        return {}  # there is no current folder
    return {} if beside is None else beside.variables
