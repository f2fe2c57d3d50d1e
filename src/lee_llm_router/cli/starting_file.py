"""A configuration to start from, based on what this machine has. It contains no key, only names of variables."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.cli.found_models import FoundModel
from lee_llm_router.config.discovery import CONFIG_NAMES
from lee_llm_router.errors import ConfigError

_ROLE = "assistant"
_TIMEOUT = 60
_USUAL_ATTEMPTS = 6
"""Default attempts of a call."""

_HEAD = """\
# Written by `lee-llm-router init` from what was found on this machine. Keys stay where they are: this file names the
# variables that hold them. Models age: the names below were sensible when this version was made.
#
#   lee-llm-router doctor       checks this file
#   lee-llm-router providers    lists the other types a provider may have
#   lee-llm-router template     shows the other settings of a file
"""

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_NO_TEXT = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
"""Words that YAML does not read as text."""

_NO_MODEL = FoundModel(
    name="offline",
    settings={
        "type": "mock",
        "response_text": "No model is set up yet: set a key (OPENAI_API_KEY, say) and run lee-llm-router init --force",
    },
    found="nothing",
)


def starting_text(models: Sequence[FoundModel]) -> str:
    """Return the configuration that asks `models` in order. If none is ready to use, it answers offline."""
    ready = [one for one in models if one.left_to_do is None] or [_NO_MODEL]
    waiting = [one for one in models if one.left_to_do is not None]
    parts = [_HEAD, "llm:", f"  default_role: {_ROLE}", "", *_providers(ready, waiting), "", *_role(ready), ""]
    return "\n".join(parts)


def next_steps(path: Path, models: Sequence[FoundModel]) -> str:
    """Return what the file at `path` asks, what was found, and the next steps."""
    ready = [one for one in models if one.left_to_do is None]
    chain = [one.name if one.model is None else f"{one.name}/{one.model}" for one in ready]
    lines = [
        f"{path} asks {', then '.join(chain)}" if chain else f"{path} answers offline: no key, agent or model was found"
    ]
    lines += [f"found    {one.found}" for one in ready]
    lines += [
        f"waiting  {one.name}, found {one.found}: {one.left_to_do}" for one in models if one.left_to_do is not None
    ]
    if not chain:
        lines.append(
            "next     set a key (lee-llm-router providers names the variables), then: lee-llm-router init --force"
        )
    named = "" if str(path) in CONFIG_NAMES else f" --config {path}"
    lines += [f"next     lee-llm-router doctor{named}", f'next     lee-llm-router complete{named} "Say hello"']
    return "\n".join(lines)


def write_starting_file(path: Path, text: str, *, replace: bool) -> None:
    """Write the whole of `text` to `path`, or nothing.

    Args:
        path: The file.
        text: Its content.
        replace: Whether to overwrite an existing file.

    Raises:
        ConfigError: it exists and may not be replaced, or it cannot be written.
    """
    shown = bounded(str(path))
    taken = ConfigError(f"{shown} already exists: --force replaces it, --output names another", sent=False)
    temporary = None
    try:
        if os.path.lexists(path) and not replace:
            raise taken
        path = Path(os.path.realpath(path))  # a link stays one
        temporary = path.with_name(f".{path.name[:100]}-{token_hex(4)}")
        # Others may read it like any new file: it contains no secret.
        with open(temporary, "x", encoding="utf-8") as file:  # noqa: PTH123 - as the rest of this function
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            _put_where_nothing_is(temporary, path)
    except FileExistsError:
        raise taken from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "this cannot be a path"
        raise ConfigError(f"{shown} cannot be written: {reason}", sent=False) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _put_where_nothing_is(temporary: Path, path: Path) -> None:
    """Give a complete file the name `path` if nothing has it, even if it was taken a moment ago.

    Raises:
        FileExistsError: something has that name.
    """
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        temporary.rename(path)  # the file system has no hard links


def _providers(ready: Sequence[FoundModel], waiting: Sequence[FoundModel]) -> Iterator[str]:
    yield "  providers:"
    for one in ready:
        yield f"    {_comment_after(f'{one.name}: {_mapping(one.settings)}', one.found)}"
    for one in waiting:
        yield f"    # {one.name}: {_mapping(one.settings)}"
        yield f"    #   found {one.found}; {bounded(one.left_to_do or '')}"


def _role(ready: Sequence[FoundModel]) -> Iterator[str]:
    first, *others = ready
    yield "  roles:"
    yield f"    {_ROLE}:"
    yield f"      provider: {first.name}"
    if first.model is not None:
        yield f"      model: {_scalar(_literal(first.model))}"
    # A chain needs time to reach its end: each target gets its time, and an attempt.
    deadline = f"deadline: {max(150, _TIMEOUT * len(ready))}"
    yield f"      timeout: {_TIMEOUT}                  # seconds, one attempt"
    yield f"      {deadline:<28} # seconds, the whole call: retries and fallbacks included"
    if len(ready) > _USUAL_ATTEMPTS:
        yield f"      retry: {{max_attempts: {len(ready)}}}"
    if others:
        yield "      fallback_providers:          # asked in order when the one before fails"
        for one in others:
            # `null`: not the model of the role, which belongs to another vendor.
            model = "null" if one.model is None else _scalar(_literal(one.model))
            yield f"        - {{provider: {one.name}, model: {model}}}"


def _comment_after(text: str, comment: str) -> str:
    return f"{text}  # {bounded(comment)}" if comment != _NO_MODEL.found else text


def _literal(text: str) -> str:
    """Return a value that the loader reads as `text`, without references to variables."""
    return text.replace("${", "$${")


def _mapping(settings: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in settings.items()) + "}"


def _scalar(text: str) -> str:
    """Return `text` so that YAML reads it back: plain if that is safe, otherwise in double quotes, like JSON."""
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT
    return text if is_plain else json.dumps(text, ensure_ascii=False)
