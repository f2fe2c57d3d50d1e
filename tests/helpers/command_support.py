"""What the tests of the provider `command` share: programs, and ways to ask them."""

from __future__ import annotations

import json
import sys
from typing import Any

from lee_llm_router.providers.command import CommandConfig, CommandProvider


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def provider(code: str, *words: Any, **settings: Any) -> CommandProvider:
    """Return a provider whose program is this Python code, called with `words`."""
    argv = [sys.executable, "-IS", "-c", escaped(code), *words]
    return CommandProvider("mine", CommandConfig(argv=argv, **settings))


def printing(*values: Any, **settings: Any) -> CommandProvider:
    """Return a provider whose program prints these values, each as JSON on a line; text as it is."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in values]
    return provider(f"import sys; sys.stdout.write({chr(10).join(lines)!r})", **settings)


def failing(code: int, stderr: str = "", stdout: str = "", **settings: Any) -> CommandProvider:
    return provider(
        f"import sys; sys.stdout.write({stdout!r}); sys.stderr.write({stderr!r}); sys.exit({code})", **settings
    )
