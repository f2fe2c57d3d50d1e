"""The command line: which configuration it takes, what `doctor` and the setup commands print, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Run
from lee_llm_router import __version__
from lee_llm_router.config import load_config
from lee_llm_router.doctor import CONFIG_VARIABLE
from lee_llm_router.providers.mock import MockProvider
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


@pytest.mark.parametrize("named", ["nope.yaml", "broken.yaml", "."])
def test_an_unusable_configuration_is_exit_2(run: Run, here: Path, named: str) -> None:
    """With a missing or wrong file, every mistake is printed on standard error."""
    (here / "broken.yaml").write_text("llm:\n  providers: {a: {type: nope}}\n")
    for command in ("complete", "doctor"):
        code, out, err = run(command, "--config", named, *(["hi"] if command == "complete" else []))
        if (command, named) == ("doctor", "broken.yaml"):
            assert (code, "broken.yaml:2:" in out) == (1, True)
        else:
            assert (code, out) == (2, "")
            assert named in err


def test_the_configuration_may_be_named_by_the_environment(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LEE_LLM_ROUTER_CONFIG wins over a file in the current folder; without either, the error says what to do."""
    (here / "lee-llm-router.yaml").rename(here / "other.yaml")
    code, _, err = run("complete", "hi")
    assert (code, "LEE_LLM_ROUTER_CONFIG" in err) == (2, True)
    monkeypatch.setenv(CONFIG_VARIABLE, "other.yaml")
    assert run("complete", "hi")[:2] == (0, "hi\n")


def test_ctrl_c_is_exit_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt ends the call without a traceback; the call is traced."""
    monkeypatch.setattr(MockProvider, "stream", lambda *_: signal.raise_signal(signal.SIGINT))
    code, out, err = run("complete", "hi")
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert LocalFileTraceStore().last()[0].outcome == "cancelled"


def test_ctrl_c_outside_a_command_is_exit_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt outside of the command-line parser ends the program quietly too."""
    monkeypatch.setattr("lee_llm_router.cli.commands.app", lambda **_: signal.raise_signal(signal.SIGINT))
    assert run("complete", "hi")[0] == 130


# --- doctor ---


def test_the_doctor_is_content(run: Run) -> None:
    """The doctor prints a line for each section and the counts; exit code 0. With --verbose a line for each result."""
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "0 errors, 0 warnings"
    assert "ok       role      echo, chain, dead, odd\n" in out
    assert "ok       role      chain: busy, then echo\n" in run("doctor", "--verbose")[1]


def test_a_mistake_in_the_file_is_shown_with_its_place_once(run: Run, here: Path) -> None:
    """The path stands at the front of the finding, and not again in it; in JSON it is the subject alone."""
    (here / "wrong.yaml").write_text("llm:\n  providers: {a: {type: mock}}\n  roles: {r: {provider: b}}\n")
    code, out, _ = run("doctor", "--config", "wrong.yaml")
    assert code == 1
    assert out.startswith("error    LLR109 wrong.yaml:3:25: llm.roles.r.provider: no such provider")
    assert out.count("wrong.yaml") == 1
    (finding,) = json.loads(run("doctor", "--config", "wrong.yaml", "--json")[1])
    assert finding["subject"] == "wrong.yaml:3:25"
    assert "wrong.yaml" not in finding["message"]


def test_warnings_are_errors_only_if_strict(run: Run, here: Path) -> None:
    """A trace folder that others can read is a warning, and with --strict a failure."""
    folder = here / ".lee-llm-router" / "traces"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    code, out, _ = run("doctor", "--role", "echo")
    assert (code, out.splitlines()[-1]) == (0, "0 errors, 1 warning")
    assert run("doctor", "--strict")[0] == 1


def test_the_doctor_finds_errors_and_says_so_as_json(run: Run) -> None:
    """--json prints an array of results on standard output."""
    code, out, _ = run("doctor", "--role", "nope", "--json")
    (bad,) = [finding for finding in json.loads(out) if finding["level"] == "error"]
    assert code == 1
    assert (bad["id"], bad["section"], bad["subject"]) == ("LLR601", "role", "nope")


# --- template, schema, help ---


def test_the_template_loads(run: Run, here: Path) -> None:
    """The printed template is a configuration that works."""
    code, out, _ = run("template")
    (here / "t.yaml").write_text(out)
    assert code == 0
    assert load_config(here / "t.yaml").roles


def test_the_schema_is_json_schema(run: Run) -> None:
    """The schema includes the settings of the providers."""
    code, out, _ = run("schema")
    assert code == 0
    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")
    assert "response_text" in out


def test_the_version(run: Run) -> None:
    """--version prints the version of the package."""
    assert run("--version") == (0, f"lee-llm-router {__version__}\n", "")


@pytest.mark.parametrize("command", [(), ("complete",), ("doctor",), ("trace",), ("template",), ("schema",)])
def test_help_shows_an_example_that_parses(run: Run, command: tuple[str, ...]) -> None:
    """Each command's help has an example, and no line is wider than 80 columns."""
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Example: " in out
    assert " ".join(["lee-llm-router", *command]) in out.rpartition("Example:")[2]
    assert max(map(len, out.splitlines())) <= 80


def test_wrong_usage_is_exit_2(run: Run) -> None:
    """Wrong usage ends with exit code 2 and says what is wrong."""
    for args in (("nonsense",), ("trace", "--last", "0"), ("complete", "a", "b"), ("doctor", "--what")):
        code, out, err = run(*args)
        assert (code, out) == (2, "")
        assert "Error" in err


# --- as a process ---


def test_a_reader_that_went_away_is_no_traceback(here: Path) -> None:
    """`lee-llm-router schema | head -1` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        for args in (["schema"], ["complete", "hi"]):
            command = [sys.executable, "-m", "lee_llm_router", *args]
            done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (1, b"")


def test_a_reader_that_goes_away_in_the_middle_is_quiet_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed pipe ends the program quietly, wherever it is noticed."""

    def gone(**_: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("lee_llm_router.cli.commands.app", gone)
    assert run("complete", "hi") == (1, "", "")


def test_help_loads_no_http_library_and_no_parser() -> None:
    """A command imports only what it needs."""
    code = (
        "import sys\nsys.argv = ['lee-llm-router', '--help']\n"
        "from lee_llm_router.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not {"httpx", "httpcore", "anyio", "yaml", "jsonschema"} & loaded
