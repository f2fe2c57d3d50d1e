"""The doctor's checks of an agent's program: where it is, its version, and missing flags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from time import monotonic
from typing import Literal, TypeAlias

from lee_llm_router._util.check_note import CheckNote
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs, attempt_dirs
from lee_llm_router.providers.agents.programs import find_program, known_flags, program_version
from lee_llm_router.providers.agents.time_budget import TimeBudget

VERSION_TIMEOUT = 15.0
"""Seconds the doctor waits for a program to print its version, and to print its help."""

CheckLevel: TypeAlias = Literal["ok", "warning", "error"]


def check_program(
    command: str,
    environment: Callable[[AttemptDirs], dict[str, str]],
    *,
    version_words: Sequence[str],
    help_words: Sequence[str],
    needed_flags: AbstractSet[str],
    optional_flags: AbstractSet[str],
) -> Iterator[tuple[CheckLevel, str]]:
    """Return findings about a program.

    Args:
        command: A name on PATH, or a path.
        environment: Makes the environment that it runs in.
        version_words: Arguments that print its version; empty: there are none.
        help_words: Arguments that print its flags; empty: there are none.
        needed_flags: It does not run without these.
        optional_flags: These are left out if it lacks them.
    """
    try:
        program = find_program(command)
        with attempt_dirs() as dirs:
            env = environment(dirs)
            version = "found"
            if version_words:
                version = program_version((program, *version_words), env, dirs, VERSION_TIMEOUT)
            yield CheckNote("ok", f"{program}: {version}", "LLR500")
            budget = TimeBudget(total=VERSION_TIMEOUT, deadline=monotonic() + VERSION_TIMEOUT, cancel=None)
            flags = known_flags(program, help_words, env, dirs, budget)
            if flags is not None and (missing := sorted(needed_flags - flags)):
                text = f"{program} has no {', '.join(missing)}: it is too old, or another program"
                yield CheckNote("error", text, "LLR511")
            if flags is not None and (missing := sorted(optional_flags - flags)):
                text = f"{program} has no {', '.join(missing)}: what they do is left out"
                yield CheckNote("warning", text, "LLR512")
    except LLMRouterError as error:
        yield CheckNote("error", error.message, "LLR510")
    except NoHomeError:
        # The setting that needs a home reports this.
        return
