"""A source -> a tree: determines the kind of source, reads it, and picks the router's section."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.peer_words import peer_hint
from lee_llm_router._util.suggestions import MAX_WORD
from lee_llm_router.config.findings import Findings
from lee_llm_router.config.syntax_causes import invisible_character
from lee_llm_router.config.tree import TOP_KEY, Entry, Node, UnreadableSourceError, from_python

MAX_BYTES = 1_000_000
"""The largest configuration in bytes; a larger one is refused unread."""

_MAX_HINTS = 20
"""The most top-level keys of other libraries that are mentioned if the router's own key is missing."""

_UNDECODED = late_pattern("[\udc80-\udcff]")


TEXT_NAME = "<text>"
"""The name in findings of a source that is, or may be, text."""

_MAX_PATH = 4096
"""The most characters of a path that any system takes."""


def is_text(source: object) -> bool:
    """Whether `source` is YAML or JSON text instead of the path of a file.

    Text contains a newline, or is a mapping in braces on one line, unless a file with that name exists.
    """
    if not isinstance(source, str):
        return False
    return "\n" in source or (source.lstrip().startswith("{") and not _exists(source))


def _may_be_shown(path: str) -> bool:
    """Whether `path` looks like a path, not like one line of text that may contain keys."""
    looks_like_text = path.lstrip().startswith(("[", '"', "'")) or ": " in path or len(path) > _MAX_PATH
    return not looks_like_text or _exists(path)


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - the method of Path raises for invalid paths


def name_of_source(source: Any) -> str:
    """Return the name of `source` in findings: the file's path, ``<text>`` or ``<mapping>``."""
    if isinstance(source, Mapping):
        return "<mapping>"
    if is_text(source):
        return TEXT_NAME
    if not isinstance(source, (str, os.PathLike)):
        return f"<{type(source).__name__}>"
    path = os.fsdecode(source) or "<path>"
    return path if _may_be_shown(path) else TEXT_NAME


def read_tree(source: Any, findings: Findings) -> Node:
    """Read `source`, which is a path, YAML text or a mapping, as a tree.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    try:
        return from_python(source) if isinstance(source, Mapping) else _parse_yaml(source)
    except UnreadableSourceError as error:
        findings.add(error.position, (), error.message, kind=error.kind)
        raise findings.error() from None


def router_section(root: Node, findings: Findings) -> Entry:
    """Return the entry of the key ``llm``.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(root.value, dict) or TOP_KEY not in root.value:
        _explain_missing_section(root, findings)
        raise findings.error()
    for problem in root.problems:
        if problem.key == TOP_KEY:
            findings.add(problem.position, (TOP_KEY,), problem.message, kind=problem.kind)
    section: Entry = root.value[TOP_KEY]
    if section.node.value is None:
        for key, entry in root.value.items():
            if odd := invisible_character(key[:MAX_WORD]):
                message = f"indented by an invisible character (U+{ord(odd):04X}): write plain spaces"
                findings.add(entry.position, (key,), message, kind="form")
    return section


def _explain_missing_section(root: Node, findings: Findings) -> None:
    if root.value is None:
        findings.add(root.position, (TOP_KEY,), "missing: the file is empty", kind="section")
    elif not isinstance(root.value, dict):
        findings.add(root.position, (TOP_KEY,), f"missing: a mapping with the key {TOP_KEY} is wanted", kind="section")
    elif loose := [key for key in ("providers", "roles", "default_role") if key in root.value]:
        message = f"missing: put {' and '.join(loose)} under the key {TOP_KEY}"
        findings.add(root.value[loose[0]].position, (TOP_KEY,), message, kind="section")
    elif misspelt := findings.suggester.closest(TOP_KEY, root.value):
        hint = findings.suggester.did_you_mean(misspelt, [TOP_KEY])
        findings.add(
            root.value[misspelt].position, (misspelt,), f"the top key {TOP_KEY} is missing", hint, kind="section"
        )
    else:
        for key in [key for key in root.value if peer_hint(key)][:_MAX_HINTS]:
            findings.add(
                root.value[key].position, (key,), "not a key of this router", peer_hint(key), kind="unknown_key"
            )
        findings.add(root.position, (TOP_KEY,), f"the top key {TOP_KEY} is missing", kind="section")


def _parse_yaml(source: Any) -> Node:
    # Imported here so that a program with a mapping as its configuration loads no YAML library.
    from lee_llm_router.config.yaml_reader import parse, position_at  # noqa: PLC0415

    if isinstance(source, str) and is_text(source):
        if len(source) > MAX_BYTES:
            raise UnreadableSourceError(f"longer than {MAX_BYTES:,} characters")
        return parse(source)
    if not isinstance(source, (str, os.PathLike)):
        raise UnreadableSourceError("a path, YAML text or a mapping is wanted")
    data = _read_file(os.fsdecode(source))
    text = data.decode(errors="surrogateescape")
    # Search for it, because the error of a strict decode would carry the whole file.
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or (data[:2].count(0) == 1 and data.count(0) * 3 > len(data)):
        raise UnreadableSourceError("UTF-16 text, not UTF-8: save it as UTF-8")
    if bad := _UNDECODED.search(text):
        raise UnreadableSourceError("not UTF-8 text (a binary file?)", position_at(text, bad.start()))
    return parse(text)


def _read_file(path: str) -> bytes:
    """Return the content of a regular file of at most `MAX_BYTES`. Any other kind of file could block, or never end."""
    if not path:
        raise UnreadableSourceError("the path is empty")
    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableSourceError("a directory, not a file" if stat.S_ISDIR(mode) else "not a regular file")
        with open(path, "rb", opener=_open_without_blocking) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = " (YAML text would have a newline in it)" if ": " in path else ""
        raise UnreadableSourceError(f"cannot be read: {error.strerror or type(error).__name__}{hint}") from None
    except ValueError:
        raise UnreadableSourceError("not a path") from None
    if len(data) > MAX_BYTES:
        raise UnreadableSourceError(f"larger than {MAX_BYTES:,} bytes")
    return data


def _open_without_blocking(path: str, flags: int) -> int:
    # A FIFO may have replaced the file since the check; opening it would wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)
