"""What the exit code and the stderr of a failed agent mean. Pure."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Sequence
from typing import Any, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.errors import FailureType

F = FailureType

StartupErrors: TypeAlias = Sequence[tuple[str, FailureType, bool]]
"""What an agent writes to stderr if it ends before it has begun: (pattern, failure, final); the first match counts."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure to raise; fields as in `LLMRouterError`."""

    failure_type: FailureType
    message: str
    status_code: int | None = None
    retry_after: float | None = None
    final: bool = False


def failure_of_end(
    title: str, returncode: int | None, stderr: str, startup_errors: StartupErrors, usage_exit: int | None = None
) -> Failure:
    """Return the failure of a run whose output names none.

    Args:
        title: The agent's name in messages.
        returncode: Its exit code, negative for a signal; None if it could not be killed.
        stderr: The end of its stderr.
        startup_errors: What its stderr means.
        usage_exit: Its exit code for a command line that it does not understand.
    """
    if returncode is None or returncode < 0:
        return Failure(F.PROVIDER_ERROR, f"{title} was killed by {_signal_name(returncode)}", returncode)
    if returncode == 0:
        return Failure(F.INVALID_RESPONSE, f"{title} ended normally but gave no answer", 0)
    said = _said(title, returncode, stderr)
    if returncode > 128:
        return Failure(F.PROVIDER_ERROR, f"{title} was killed by {_signal_name(128 - returncode)}: {said}", returncode)
    if returncode == usage_exit:
        return Failure(F.INVALID_REQUEST, said, returncode)
    # The exit codes of a shell script that found nothing to run.
    known = [(F.PROVIDER_ERROR, True)] if returncode in (126, 127) else []
    known += [(kind, final) for pattern, kind, final in startup_errors if re.search(pattern, said, re.IGNORECASE)]
    kind, final = known[0] if known else (F.PROVIDER_ERROR, False)
    return Failure(kind, said, returncode, final=final)


def _said(title: str, returncode: int, stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("WARNING:")]
    return "\n".join(lines) or f"{title} exited with {returncode} and said nothing"


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in a message; None if it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _signal_name(returncode: int | None) -> str:
    if returncode is None:
        return "nobody: it could not be killed"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"
