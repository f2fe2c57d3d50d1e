"""What the doctor says of an agent's program: where it is, its version, and the flags that it lacks."""

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
"""Seconds the doctor waits for a program that prints its version, and for one that prints its help."""

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
    """Say what there is to say of a program.

    Args:
        command: A name on PATH, or a path.
        environment: Gives the environment that it runs in.
        version_words: What makes it print its version; empty: nothing does.
        help_words: What makes it print its flags; empty: nothing does.
        needed_flags: Without these it does not run.
        optional_flags: These are left out where it lacks them.
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
                text = f"{program} has no {', '.join(missing)}: what they are for is left out"
                yield CheckNote("warning", text, "LLR512")
    except LLMRouterError as error:
        yield CheckNote("error", error.message, "LLR510")
    except NoHomeError:
        # Reported for the setting that needs a home.
        return
