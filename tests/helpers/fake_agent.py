"""A stand-in for the program of an agent, which prints recorded output and notes how it was called.

`FakeAgent` writes a program that runs this file, with a script of what to do beside it. The program gets an environment
by allow-list, so the script, and the notes it takes, are files.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

# Not imported when run: this file is started hundreds of times.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class FakeAgent:
    """A fake agent in a separate folder. Each agent says what its program prints if nothing else is told."""

    name: ClassVar[str]
    usual: ClassVar[dict[str, Any]]
    """Of `script`: the lines of an answer, the help and the version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / self.name
        self.path.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text()}", encoding="utf-8")
        self.path.chmod(0o755)
        self.script()

    def script(self, lines: list[Any] | None = None, **how: Any) -> None:
        """Set what it does from now on.

        Args:
            lines: What to print: events, or text as it is.
            how: `exit`, `stderr`, `signal`, `before` and `after` (Python code), `help`, `help_exit`, `before_help`,
                `version`, and `record`: what is written to the file that gemini records its answers in (None: nothing).
        """
        script = {**self.usual, **({} if lines is None else {"lines": lines}), **how}
        (self.folder / "script.json").write_text(json.dumps(script))

    def forget(self) -> None:
        """Reset the script and remove the notes."""
        for note in self.folder.glob("*-*"):
            note.unlink()
        self.script()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Return how it was called: argv, env, cwd, stdin, and the contents of the files that it was given."""
        notes = sorted(self.folder.glob("call-*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(note.read_text()) for note in notes]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Return the calls that asked for an answer."""
        return [call for call in self.calls if not {"--help", "--version"} & set(call["argv"])]

    @property
    def run(self) -> dict[str, Any]:
        """Return the only call that asked for an answer."""
        [one] = self.runs
        return one


def _home() -> str:
    if "GEMINI_CLI_HOME" in os.environ:
        return os.path.join(os.environ["GEMINI_CLI_HOME"], ".gemini")
    return os.environ.get("CODEX_HOME") or os.environ.get("CLAUDE_CONFIG_DIR", "")


def _note(folder: Path) -> None:
    files = {}
    for word in sys.argv[1:]:
        path = word.partition("=")[2].strip('"')
        if path.startswith("/") and os.path.isfile(path):
            files[word.partition("=")[0]] = Path(path).read_text(encoding="utf-8")
    home, system = _home(), os.environ.get("GEMINI_SYSTEM_MD")
    folders = (home, os.environ.get("TMPDIR", ""))
    note = {
        "argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "files": files, "pid": os.getpid(),
        "stdin": sys.stdin.buffer.read().decode(), "work": sorted(os.listdir()),
        "home": {path.name: path.read_text() for path in Path(home).glob("*") if path.is_file()},
        "modes": {name: oct(os.stat(name).st_mode & 0o777) for name in folders if os.path.isdir(name)},
        "system": None if system is None else Path(system).read_text(),
    }  # fmt: skip
    part = folder / f"part-{os.getpid()}"
    part.write_text(json.dumps(note))
    part.rename(folder / f"call-{os.getpid()}-{time.monotonic_ns()}.json")


def _record(sent: Any) -> None:
    """Write what the service sent to where gemini is told to record it."""
    path = next(word.partition("=")[2] for word in sys.argv if word.startswith("--record-responses="))
    entry = {"method": "generateContentStream", "response": sent}
    Path(path).write_text(sent if isinstance(sent, str) else json.dumps(entry) + "\n")


def main() -> None:
    """Act as the script says."""
    folder = Path(sys.argv[0]).absolute().parent
    script = json.loads((folder / "script.json").read_text())
    _note(folder)
    if "--version" in sys.argv:
        print(script["version"])
        return
    if "--help" in sys.argv:
        exec(script.get("before_help", ""), globals())
        print(script["help"])
        sys.exit(script.get("help_exit", 0))
    exec(script.get("before", ""), globals())
    if script.get("record") is not None:
        _record(script["record"])
    for line in script["lines"]:
        text = line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) + "\n"
        sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    sys.stdout.flush()
    sys.stderr.write(script.get("stderr", ""))
    sys.stderr.flush()
    exec(script.get("after", ""), globals())
    if "signal" in script:
        os.kill(os.getpid(), getattr(signal, script["signal"]))
    sys.exit(script.get("exit", 0))


if __name__ == "__main__":
    main()
