"""What a shell completes while somebody types: names of roles, ids of calls; and nothing where they cannot be read."""

from __future__ import annotations

from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.records import make
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.cli.arguments import roles_beginning_with
from lee_llm_router.cli.trace.reading import (
    ids_beginning_with,
    store_path,
    take_options_before_command,
    trace_store,
)


def typed(before: dict[str, Any] | None = None, **params: Any) -> Any:
    """The command as far as it is typed; `before` are options before the name of a command of `trace`."""
    parent = None if before is None else SimpleNamespace(params=before)
    return SimpleNamespace(params=params, parent=parent)


@pytest.mark.parametrize(("begun", "roles"), [("", ["echo", "chain", "dead", "odd"]), ("d", ["dead"]), ("deaf", [])])
def test_roles_are_completed(begun: str, roles: list[str]) -> None:
    assert roles_beginning_with(typed(), begun) == roles


@pytest.mark.parametrize(
    "text", ["llm: [", "llm: {roles: [a]}", "llm: {}", "llm: {roles: {a: {provider: ${X}}}}", "[]", "\x00", None]
)
def test_a_file_that_cannot_be_read_completes_no_role_and_raises_nothing(
    text: str | None, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It would stand in the line that is typed. A file with mistakes completes what it has."""
    file = here / "c.yaml"
    if text is not None:
        file.write_text(text)
    assert roles_beginning_with(typed(config=file), "") in ([], ["a"])
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    store = LocalFileTraceStore(tmp_path / "t")
    for name in ("aa1", "aa2", "bb1", "aa\x1b"):
        store.write(make(request_id=name, role="r\x1b"))
    return tmp_path / "t"


def test_ids_are_completed_the_newest_first_with_a_word_about_each(traced: Path) -> None:
    """Named after the command, or before it. What a terminal would obey is escaped, or left out."""
    found = [("aa2", "r\\x1b: ok"), ("aa1", "r\\x1b: ok")]
    assert ids_beginning_with(typed(folder=traced), "aa") == found
    assert ids_beginning_with(typed({"folder": traced}, folder=None), "aa") == found
    # As typer before 0.29 has what was typed.
    assert ids_beginning_with(typed(folder=str(traced)), "aa") == found


def test_a_configuration_with_mistakes_completes_ids_of_its_usual_folder(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    LocalFileTraceStore(workspace=here).write(make(request_id="cc1"))
    (here / "lee-llm-router.yaml").write_text("llm: {rolls: {}}")
    assert [name for name, _ in ids_beginning_with(typed(), "c")] == ["cc1"]
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_read_completes_no_id_and_raises_nothing(here: Path) -> None:
    assert ids_beginning_with(typed(config=here / "missing.yaml"), "") == []


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_before_the_command_holds_for_it(kind: type[str] | type[Path], traced: Path) -> None:
    """Typer before 0.29 has it as text."""
    listing = typed(folder=kind(traced), config=None)
    listing.invoked_subcommand = "show"

    def store_of_command() -> object:
        take_options_before_command(listing)
        return store_path(trace_store(None))

    assert copy_context().run(store_of_command) == traced
