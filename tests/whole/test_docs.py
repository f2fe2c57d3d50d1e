"""The documents are true: their code runs, their output is what is printed, their links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from helpers import network_guard
from helpers.documents import DOCUMENTS, FENCE, PLAYED, ROOT, Block, blocks_of
from helpers.fake_codex import FakeCodex, answer
from lee_llm_router import load_config
from lee_llm_router.batch.durable.database import SQLITE_SERVES
from lee_llm_router.cli import commands as cli
from lee_llm_router.providers import registry

EXAMPLES = sorted(ROOT.glob("examples/*.py"))
HANG = 120.0
"""Seconds after which an example counts as hanging; none comes near."""

_FILE_COMMENT = re.compile(r"# ([\w.-]+\.ya?ml)\n")
_VARYING = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<moment>"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "<date>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? m?s\b"), "<duration>"),
]


def same_output(shown: str, printed: str) -> bool:
    """Whether a document shows what is printed, but for times, ids and white space. `...` stands for anything."""
    wanted, got = (_plain(text) for text in (shown, printed))
    pattern = ".*".join(re.escape(part.strip()) for part in wanted.split("..."))
    return re.fullmatch(r"\s*" + pattern + r"\s*", got, re.DOTALL) is not None


def _plain(text: str) -> str:
    for pattern, stand_in in _VARYING:
        text = pattern.sub(stand_in, text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


class Reader:
    """Does what a document says, from top to bottom, in the current directory."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed: str | None = None

    def read(self, block: Block) -> None:
        if block.language == "text" and block.follows and self.printed is not None:
            assert same_output(block.text, self.printed), f"{block.place}: it prints\n{self.printed}"
        self.printed = None
        if block.language == "python":
            self.printed = self._run(block)
        elif block.language in ("console", "bash"):
            self._type(block)
        elif block.language == "yaml" and (named := _FILE_COMMENT.match(block.text)):
            Path(named[1]).write_text(block.text, encoding="utf-8")

    def _run(self, block: Block) -> str:
        # Blank lines before it, so that a traceback shows the line of the document.
        code = compile("\n" * (block.line - 1) + block.text, str(block.path), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, self.names)
        return out.getvalue()

    def _type(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if not command.startswith("lee-llm-router"):
                continue
            words = shlex.split(command)
            code, out, err = run_cli(words[1 : words.index(">")] if ">" in words else words[1:])
            assert code == 0, f"{block.place}: {command}: exit {code}\n{err}"
            if ">" in words:
                Path(words[words.index(">") + 1]).write_text(out, encoding="utf-8")
            elif shown.strip():
                assert same_output(shown, out), f"{block.place}: {command} prints\n{out}"


def run_cli(words: list[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command line."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lee-llm-router", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as end:
            cli.main()
    written = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return int(end.value.code or 0), written[0], written[1]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to stand in; a user with a codex login and no keys; no network.

    What the code registers, and what it sets in the environment, is undone.
    """
    left: list[str] = []
    for owner, name, guard in network_guard.guards(left.append):
        monkeypatch.setattr(owner, name, guard)
    for name in ("_plugins", "_aliases"):
        monkeypatch.setattr(registry.PROVIDERS, name, dict(getattr(registry.PROVIDERS, name)))
    before = dict(os.environ)
    home, here = tmp_path / "home", tmp_path / "here"
    (home / ".codex").mkdir(parents=True)
    (home / ".codex/auth.json").write_text('{"tokens": {"access_token": "made-up-token"}, "last_refresh": "2026"}')
    here.mkdir()
    for name in [name for name in before if name.endswith("_API_KEY") or name.startswith(("LEE_", "CODEX_"))]:
        del os.environ[name]
    os.environ["HOME"] = str(home)
    monkeypatch.chdir(here)
    yield here
    os.environ.clear()
    os.environ.update(before)
    assert left == [], "these would have left the machine"


def test_shown_output_may_differ_in_times_and_ids_alone() -> None:
    assert same_output("20:25:13  planner  ok   8 ms  116941f5", "08:01:02  planner  ok 1.5 s  deadbe01\n")
    assert same_output("first\n...\nlast", "first\nsecond\nlast\n")
    assert not same_output("20:25:13  planner  ok", "20:25:13  extractor  ok")
    assert not same_output("first\n...\nlast", "first\nlast\nand more")


def test_a_connection_that_would_leave_the_machine_is_refused_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    for owner, name, guard in network_guard.guards(noted.append):
        monkeypatch.setattr(owner, name, guard)
    with socket.socket() as there, pytest.raises(ConnectionRefusedError):
        there.connect(("192.0.2.1", 80))
    with pytest.raises(ConnectionRefusedError):
        socket.getaddrinfo("example.invalid", 80)
    assert noted == ["connect '192.0.2.1'", "getaddrinfo 'example.invalid'"]
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert len(noted) == 2


@pytest.mark.parametrize("path", PLAYED, ids=lambda path: path.name)
def test_code_in_documents_runs_and_prints_what_is_shown(path: Path, fresh: Path) -> None:
    if path.name == "batch-engines.md" and not SQLITE_SERVES:
        pytest.skip("DBOS cannot use the SQLite of this Python")
    reader = Reader()
    for block in blocks_of(path):
        reader.read(block)


WHOLE = [
    block
    for path in PLAYED
    for block in blocks_of(path)
    if block.language == "yaml" and re.search(r"^  roles:", block.text, re.MULTILINE)
]


@pytest.mark.parametrize("block", WHOLE, ids=lambda block: block.place)
def test_whole_configurations_in_documents_load(block: Block, fresh: Path) -> None:
    assert load_config(block.text).roles


SAYS = {
    "any_program": "jumps fox the  -- reverser, words-1, 6 tokens\nno money left  -- stand_in",
    "any_program_model": "see any_program.py",
    "async_batch": "39 answers, 1 failed: CONTENT_FILTER",
    "custom_policy": "300 characters: large says hi",
    "custom_provider": "desserts",
    "custom_trace_store": "steady/m   ok         2",
    "demo": "RATE_LIMIT 429",
    "fallback_to_codex": "-- served by codex",
    "fallback_to_own_process": "served by",
    "json_contract": "parsed: Person(name='Ada Lovelace', born=1815)",
    "opentelemetry_console": "chat planner (INTERNAL, UNSET)",
    "quickstart": "-- served by offline/small",
}


def run_example(path: Path, here: Path, **variables: str) -> str:
    """What an example prints, run as a script, away from any network."""
    guard = here.parent / "guard"
    guard.mkdir(exist_ok=True)
    (guard / "sitecustomize.py").write_text(
        "import os\nfrom helpers import network_guard\n"
        "for owner, name, new in network_guard.guards(lambda what: os._exit(97)):\n"
        "    setattr(owner, name, new)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(guard), str(ROOT / "tests")]), **variables}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=here,
        env=env,
        timeout=HANG,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run_offline_and_say_what_they_show(path: Path, fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    codex = FakeCodex(tmp_path / "bin")
    codex.script(answer("text[::-1]"))
    assert SAYS[path.stem] in run_example(path, fresh, LEE_CODEX_COMMAND=str(codex.path))


def test_the_codex_example_says_so_where_there_is_no_codex(fresh: Path) -> None:
    said = run_example(ROOT / "examples/fallback_to_codex.py", fresh, LEE_CODEX_COMMAND="no-such-codex")
    assert "is the codex CLI installed" in said
    assert "PROVIDER_ERROR" in said


def test_the_demo_leaves_nothing_behind(fresh: Path) -> None:
    run_example(ROOT / "examples/demo.py", fresh, TMPDIR=str(fresh))
    assert list(fresh.iterdir()) == []


def test_the_first_code_of_the_readme_is_whole_by_line_30() -> None:
    first = next(block for block in blocks_of(ROOT / "README.md") if block.language == "python")
    assert first.line + first.text.count("\n") <= 30


def _slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", _prose(there), re.MULTILINE)
            assert anchor in map(_slug, headings), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_no_path_of_a_machine(path: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|Users|root|tmp|var|work|opt)/\S*", path.read_text(encoding="utf-8")) == []


def _front_matter(path: Path) -> Any:
    _, front, _ = path.read_text(encoding="utf-8").split("---\n", 2)
    return json.loads(json.dumps(yaml.safe_load(front), default=str))


BACKLOG = sorted(path for path in ROOT.glob("backlog/*.md") if path.name != "schema.md")


@pytest.mark.parametrize("path", BACKLOG, ids=lambda path: path.name)
def test_backlog_items_keep_their_schema(path: Path) -> None:
    schema = next(block for block in blocks_of(ROOT / "backlog/schema.md") if block.language == "yaml")
    item = _front_matter(path)
    jsonschema.validate(item, yaml.safe_load(schema.text), jsonschema.Draft202012Validator)
    assert path.name == "template.md" or path.name.startswith(f"{item['id']}-")


def test_no_two_backlog_items_share_an_id() -> None:
    ids = [_front_matter(path)["id"] for path in BACKLOG]
    assert len(ids) == len(set(ids))
