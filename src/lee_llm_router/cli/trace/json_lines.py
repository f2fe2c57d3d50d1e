"""Writes calls as JSON lines, the oldest first, although a store yields the newest first and memory cannot hold all."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.cli.output import OutputError, write_json_text
from lee_llm_router.cli.whole_file import write_whole_file
from lee_llm_router.errors import ConfigError
from lee_llm_router.telemetry.calls import TracedCall

if TYPE_CHECKING:
    from lee_llm_router.cli.progress import ProgressLine

STANDARD_OUTPUT = "-"


def written_lines(calls: Iterable[TracedCall], output: str, line: ProgressLine) -> tuple[int, int]:
    """Write the records of `calls`, and return how many calls and records there were.

    Args:
        calls: The calls, the newest first.
        output: A file, written completely or not at all, readable only by its owner; ``-`` for standard output.
        line: Advances with each call.

    Raises:
        ConfigError: the file cannot be written.
        OutputError: standard output cannot be written.
    """
    try:
        with ExitStack() as opened:
            spool: IO[bytes] = opened.enter_context(TemporaryFile(prefix="lee-llm-router-"))
            ends, records = array("q", [0]), 0
            for call in calls:
                for record in call.records:
                    spool.write(record.to_json() + b"\n")
                    records += 1
                ends.append(spool.tell())
                line.advance()
            line.hide()
            if output == STANDARD_OUTPUT:
                _copy_backwards(spool, ends, _print_lines)
            else:
                write_whole_file(Path(output), lambda write: _copy_backwards(spool, ends, write))
    except (BrokenPipeError, OutputError):
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "this cannot be a path"
        raise ConfigError(f"{bounded(output)} cannot be written: {reason}", sent=False) from None
    return len(ends) - 1, records


def _copy_backwards(spool: IO[bytes], ends: array[int], write: Callable[[bytes], object]) -> None:
    """Write the calls in `spool` from the last to the first."""
    for place in range(len(ends) - 1, 0, -1):
        spool.seek(ends[place - 1])
        write(spool.read(ends[place] - ends[place - 1]))


def _print_lines(text: bytes) -> None:
    for line in text.split(b"\n")[:-1]:
        write_json_text(line)
