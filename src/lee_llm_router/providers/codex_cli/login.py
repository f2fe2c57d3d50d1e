"""The user's codex login (`auth.json`), copied into the private codex home of an attempt.

Codex keeps databases in its home and reads AGENTS.md, skills and rules from there, so the private home holds only the
login. Codex may renew the login during a run, and that invalidates the old one. So a copy that has changed replaces
the original, unless the original has changed in the meantime.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lee_llm_router._util.log import logger
from lee_llm_router.errors import AuthenticationError

AUTH_FILE = "auth.json"


def user_home(parent: Mapping[str, str]) -> Path:
    """Return the user's codex home: CODEX_HOME, else ~/.codex."""
    given = parent.get("CODEX_HOME")
    return Path(given).expanduser() if given else Path("~/.codex").expanduser()


@contextmanager
def borrowed_login(source: Path, private_home: Path) -> Iterator[None]:
    """Copy the login of `source` into `private_home`; at the end, keep it if codex has renewed it.

    Raises:
        AuthenticationError: there is no login, or it cannot be read. `sent` is False.
    """
    original, copy = source / AUTH_FILE, private_home / AUTH_FILE
    try:
        content = original.read_bytes()
    except FileNotFoundError:
        raise AuthenticationError(
            f"codex is not logged in: {original} does not exist, and no api_key_env is set", sent=False
        ) from None
    except OSError as error:
        raise AuthenticationError(f"{original} cannot be read: {error.strerror or error}", sent=False) from error
    copy.touch(mode=0o600)
    copy.write_bytes(content)
    try:
        yield
    finally:
        _keep_renewed(original, content, copy)


def _keep_renewed(original: Path, before: bytes, copy: Path) -> None:
    """Replace `original` by `copy` if codex changed the copy and nobody changed the original."""
    try:
        after = copy.read_bytes()
        if after == before or not isinstance(json.loads(after), dict) or original.read_bytes() != before:
            return
        # Follow links: a login that is kept elsewhere and linked here must stay a link.
        target = original.resolve()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{AUTH_FILE}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(after)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except FileNotFoundError:
        # Codex or the user has logged out in the meantime: there is nothing to keep.
        return
    except (OSError, ValueError) as error:
        logger.warning("codex_cli: codex renewed its login, which could not be kept: %s", type(error).__name__)


def login_secrets(home: Path) -> list[str]:
    """Return every text in the login of `home` that may be a key or a token."""
    try:
        login = json.loads((home / AUTH_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [text for text in _texts(login) if len(text) >= 16]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            # Not secret, and likely to occur in ordinary text: a date and the name of a login method.
            if key not in ("last_refresh", "auth_mode"):
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
