"""The private folders of one attempt, and the login that is lent to it.

Codex keeps databases in its home and reads AGENTS.md, skills and rules from it and from the user's home. So each
attempt gets a home of its own with nothing but a copy of `auth.json`, and everything is removed afterwards.

Codex renews a login by itself, and a renewed one makes the old one void. So a copy that came back changed is put in
place of the original, unless that has changed meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lee_llm_router._util.log import logger
from lee_llm_router.errors import AuthenticationError, ProviderError

AUTH_FILE = "auth.json"


@dataclass(frozen=True, slots=True)
class Rooms:
    """The private folders of one attempt, below one root that only the user may enter."""

    root: Path

    @property
    def home(self) -> Path:
        """For HOME."""
        return self.root / "home"

    @property
    def codex(self) -> Path:
        """For CODEX_HOME."""
        return self.root / "codex"

    @property
    def temp(self) -> Path:
        """For TMPDIR."""
        return self.root / "tmp"

    @property
    def work(self) -> Path:
        """An empty folder to work in."""
        return self.root / "work"

    def write(self, name: str, text: str) -> Path:
        """A file below the root."""
        path = self.root / name
        path.write_text(text, encoding="utf-8", newline="")
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """A JSON file below the root."""
        return self.write(name, json.dumps(value))


@contextmanager
def private_rooms() -> Iterator[Rooms]:
    """Make the folders, and remove them and all in them in the end.

    Raises:
        ProviderError: they cannot be made (disk full, no temporary folder). `sent` is False.
    """
    root: Path | None = None
    try:
        try:
            root = Path(tempfile.mkdtemp(prefix="lee-llm-router-codex-"))
            rooms = Rooms(root)
            for folder in (rooms.home, rooms.codex, rooms.temp, rooms.work):
                folder.mkdir(mode=0o700)
        except OSError as error:
            raise ProviderError(f"no private folder for codex: {error.strerror or error}", sent=False) from error
        yield rooms
    finally:
        if root is not None:
            _remove(root)


def _remove(root: Path) -> None:
    """Remove a folder, also where an agent left parts of it write-protected."""
    shutil.rmtree(root, ignore_errors=True)
    if not root.exists():
        return
    for folder, _, _ in os.walk(root):
        with suppress(OSError):
            Path(folder).chmod(0o700)
        # Only now can it be looked into: walk() goes top down.
    shutil.rmtree(root, ignore_errors=True)
    if root.exists():
        logger.warning("codex_cli: the private folder %s could not be removed", root)


def user_home(parent: Mapping[str, str]) -> Path:
    """The user's own codex home: CODEX_HOME, else ~/.codex."""
    given = parent.get("CODEX_HOME")
    return Path(given).expanduser() if given else Path("~/.codex").expanduser()


@contextmanager
def lent_login(source: Path, room: Path) -> Iterator[None]:
    """Copy the login of `source` into the codex home `room`; take a renewed one back in the end.

    Raises:
        AuthenticationError: there is none, or it cannot be read. `sent` is False.
    """
    original, copy = source / AUTH_FILE, room / AUTH_FILE
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
        _take_back(original, content, copy)


def _take_back(original: Path, before: bytes, copy: Path) -> None:
    try:
        after = copy.read_bytes()
        if after == before or not isinstance(json.loads(after), dict) or original.read_bytes() != before:
            return
        # Through links: a login kept elsewhere and linked here stays where it is.
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
        # Logged out meanwhile, by codex in its own home or by the user: there is nothing to put back.
        return
    except (OSError, ValueError) as error:
        logger.warning("codex_cli: codex renewed its login, which could not be kept: %s", type(error).__name__)


def login_secrets(home: Path) -> list[str]:
    """Every text in the login of `home` that may be a key or a token."""
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
            # Not secret, and part of ordinary text: a time and the name of a way to log in.
            if key not in ("last_refresh", "auth_mode"):
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
