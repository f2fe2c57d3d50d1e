"""A stand-in for the codex binary, which prints recorded output and notes how it was called.

`install` writes a program that runs this file, with a script of what to do beside it. The program gets an environment
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
    from typing import Any

HELP = """Usage: codex exec [OPTIONS] [PROMPT]
  -c, --config <key=value>
      --skip-git-repo-check
      --ephemeral
      --ignore-user-config
      --ignore-rules
      --output-schema <FILE>
      --color <COLOR>
      --json
  -s, --sandbox <SANDBOX_MODE>
  -C, --cd <DIR>
  -m, --model <MODEL>
"""
METADATA_WARNING = {
    "type": "item.completed",
    "item": {"id": "item_0", "type": "error", "message": "Model metadata for `m` not found. Defaulting to fallback."},
}
USAGE = {
    "input_tokens": 101, "cached_input_tokens": 40, "cache_write_input_tokens": 0, "output_tokens": 23,
    "reasoning_output_tokens": 5,
}  # fmt: skip
BEGIN: list[Any] = [{"type": "thread.started", "thread_id": "t"}, METADATA_WARNING, {"type": "turn.started"}]


def message(text: str) -> dict[str, Any]:
    """Return the event of an answer."""
    return {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": text}}


def answer(text: str, usage: dict[str, int] | None = None) -> list[Any]:
    """Return the lines of a successful turn."""
    return [*BEGIN, message(text), {"type": "turn.completed", "usage": USAGE if usage is None else usage}]


def failure(text: str) -> list[Any]:
    """Return the lines of a failed turn."""
    return [*BEGIN, {"type": "error", "message": text}, {"type": "turn.failed", "error": {"message": text}}]


class FakeCodex:
    """A fake codex in a separate folder."""

    def __init__(self, folder: Path, name: str = "codex") -> None:
        self.folder = folder
        self.path = folder / name
        self.path.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text()}", encoding="utf-8")
        self.path.chmod(0o755)
        self.script()

    def script(self, lines: list[Any] | None = None, **how: Any) -> None:
        """Set what it does from now on.

        Args:
            lines: What to print: events, or text as it is.
            how: `exit`, `stderr`, `signal`, `before` and `after` (Python code), `help`, `help_exit`, `version`.
        """
        script = {"lines": answer("hello") if lines is None else lines, **how}
        (self.folder / "script.json").write_text(json.dumps(script))

    def forget(self) -> None:
        """Reset the script and remove the notes."""
        for note in self.folder.glob("*-*"):
            note.unlink()
        self.script()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Return how it was called: argv, env, cwd, stdin, and the contents of the files named in argv."""
        notes = sorted(self.folder.glob("call-*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(note.read_text()) for note in notes]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Return the calls that asked for an answer."""
        return [call for call in self.calls if call["argv"][-1] == "-"]

    @property
    def run(self) -> dict[str, Any]:
        """Return the only call that asked for an answer."""
        [one] = self.runs
        return one


def _note(folder: Path) -> None:
    files = {}
    for word in sys.argv[1:]:
        path = word.partition("=")[2].strip('"')
        if path.startswith("/") and os.path.isfile(path):
            files[word.partition("=")[0]] = Path(path).read_text(encoding="utf-8")
    home = os.environ.get("CODEX_HOME") or os.environ.get("CLAUDE_CONFIG_DIR", "")
    note = {
        "argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "files": files, "pid": os.getpid(),
        "stdin": sys.stdin.buffer.read().decode(),
        "home": {path.name: path.read_text() for path in Path(home).glob("*") if path.is_file()},
        "modes": {name: oct(os.stat(name).st_mode & 0o777) for name in (home, os.environ["TMPDIR"]) if name},
    }  # fmt: skip
    part = folder / f"part-{os.getpid()}"
    part.write_text(json.dumps(note))
    part.rename(folder / f"call-{os.getpid()}-{time.monotonic_ns()}.json")


def main() -> None:
    """Act as the script says."""
    folder = Path(sys.argv[0]).absolute().parent
    script = json.loads((folder / "script.json").read_text())
    _note(folder)
    if "--version" in sys.argv:
        print(script.get("version", "codex-cli 0.169.0"))
        return
    if "--help" in sys.argv:
        exec(script.get("before_help", ""), globals())
        print(script.get("help", HELP))
        sys.exit(script.get("help_exit", 0))
    exec(script.get("before", ""), globals())
    for line in script["lines"]:
        text = line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) + "\n"
        sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()
    sys.stderr.write(script.get("stderr", ""))
    sys.stderr.flush()
    exec(script.get("after", ""), globals())
    if "signal" in script:
        os.kill(os.getpid(), getattr(signal, script["signal"]))
    sys.exit(script.get("exit", 0))


if __name__ == "__main__":
    main()
