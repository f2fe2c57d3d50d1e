"""A stand-in for the gemini binary, which prints recorded output and notes how it was called.

`install` writes a program that runs this file, with a script of what to do beside it, as in `fake_codex`.
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

HELP = """Usage: gemini [options] [command]
  -m, --model                     Model  [string]
      --skip-trust                Trust the current workspace for this session.
      --approval-mode             Set the approval mode
  -e, --extensions                A list of extensions to use.
  -o, --output-format             The format of the CLI output.
      --raw-output                Disable sanitization of model output
      --accept-raw-output-risk    Suppress the security warning when using --raw-output.
"""
STATS = {
    "total_tokens": 127, "input_tokens": 100, "output_tokens": 20, "cached": 40, "input": 60, "duration_ms": 55,
    "tool_calls": 0, "models": {"gemini-served-001": {"total_tokens": 127, "input_tokens": 100, "output_tokens": 20}},
}  # fmt: skip
NO_STATS = {
    "total_tokens": 0, "input_tokens": 0, "output_tokens": 0, "cached": 0, "input": 0, "duration_ms": 0,
    "tool_calls": 0, "models": {"gemini-asked": {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}},
}  # fmt: skip
BEGIN: list[Any] = [
    {"type": "init", "timestamp": "2026-01-01T00:00:00.000Z", "session_id": "session-1", "model": "gemini-asked"},
    {"type": "message", "role": "user", "content": "hello"},
]
NOISE = "Warning: 256-color support not detected.\nRipgrep is not available. Falling back to GrepTool.\n"


def piece(text: str) -> dict[str, Any]:
    """Return the event of a piece of text."""
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


def result(status: str = "success", message: str | None = None, stats: Any = None) -> dict[str, Any]:
    """Return the event that ends a run."""
    error = {} if message is None else {"error": {"type": "unknown", "message": message}}
    return {"type": "result", "status": status, **error, "stats": STATS if stats is None else stats}


def answer(*texts: str, stats: Any = None) -> list[Any]:
    """Return the lines of a run that gave these pieces of text."""
    return [*BEGIN, *map(piece, texts), result(stats=stats)]


def failure(message: str) -> list[Any]:
    """Return the lines of a run that failed."""
    return [*BEGIN, result("error", message, NO_STATS)]


def sent(text: str, reason: str | None = "STOP", *thoughts: str) -> list[Any]:
    """Return what the service sent, as gemini records it."""
    parts = [{"text": one, "thought": True} for one in thoughts] + [{"text": text}]
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
    return [{"candidates": [candidate if reason is None else {**candidate, "finishReason": reason}]}]


class FakeGemini:
    """A fake gemini in a separate folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "gemini"
        self.path.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text()}", encoding="utf-8")
        self.path.chmod(0o755)
        self.script()

    def script(self, lines: list[Any] | None = None, **how: Any) -> None:
        """Set what it does from now on.

        Args:
            lines: What to print: events, or text as it is.
            how: `record` (what the service sent; None: nothing), `exit`, `stderr`, `signal`, `before` and `after`
                (Python code), `help`, `version`.
        """
        script = {"lines": answer("hel", "lo") if lines is None else lines, "record": sent("hello"), **how}
        (self.folder / "script.json").write_text(json.dumps(script))

    def forget(self) -> None:
        """Reset the script and remove the notes."""
        for note in self.folder.glob("*-*"):
            note.unlink()
        self.script()

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Return how it was called for an answer: argv, env, cwd, stdin, and the files that it was given."""
        notes = sorted(self.folder.glob("call-*.json"), key=lambda path: path.stat().st_mtime_ns)
        calls = [json.loads(note.read_text()) for note in notes]
        return [call for call in calls if "--help" not in call["argv"] and "--version" not in call["argv"]]

    @property
    def run(self) -> dict[str, Any]:
        """Return the only call for an answer."""
        [one] = self.runs
        return one


def _note(folder: Path) -> None:
    home = Path(os.environ["GEMINI_CLI_HOME"]) / ".gemini"
    system = os.environ.get("GEMINI_SYSTEM_MD")
    note = {
        "argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid(),
        "stdin": sys.stdin.buffer.read().decode(), "work": sorted(os.listdir()),
        "home": {path.name: path.read_text() for path in home.glob("*") if path.is_file()},
        "system": None if system is None else Path(system).read_text(),
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
        print(script.get("version", "0.61.0"))
        return
    if "--help" in sys.argv:
        print(script.get("help", HELP))
        return
    exec(script.get("before", ""), globals())
    record = next(word.partition("=")[2] for word in sys.argv if word.startswith("--record-responses="))
    if script["record"] is not None:
        text = script["record"]
        entry = {"method": "generateContentStream", "response": text}
        Path(record).write_text(text if isinstance(text, str) else json.dumps(entry) + "\n")
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
