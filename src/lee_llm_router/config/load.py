"""A source -> the checked configuration, or every mistake in it at once."""

from __future__ import annotations

import os
import re
import stat
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lee_llm_router.config.environment import fill
from lee_llm_router.config.findings import KEY_WORDS, SCALAR_KINDS, Findings, message_of
from lee_llm_router.config.references import check_references
from lee_llm_router.config.tree import Mark, Node, Refused, from_python, locate
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.settings.model import Path, RedactingModel, field_name, is_sensitive_header, note_filled

MAX_BYTES = 1_000_000
"""Size of a configuration; a larger one is refused unread."""

TOP = "llm"

_UNDECODED = re.compile("[\udc80-\udcff]")

ModelT = TypeVar("ModelT", bound=RedactingModel)


def load(source: Any, model: type[ModelT]) -> ModelT:
    """`source` as a `model`. See `load_config`."""
    findings = Findings(_name_of(source))
    try:
        root = _tree(source)
    except Refused as refused:
        findings.add(refused.mark, (), refused.message)
        raise findings.error() from None
    top = _top(root, findings)
    if top is None:
        raise findings.error()
    reading = _Reading(root, findings)
    data = reading.plain(top, (TOP,))
    config = _validated(data, reading, model)
    if config is None or findings:
        raise findings.error()
    note_filled(config, {path[1:]: used for path, used in reading.filled.items()})
    return config


def _name_of(source: Any) -> str:
    if isinstance(source, Mapping):
        return "<mapping>"
    if isinstance(source, str) and "\n" in source:
        return "<text>"
    return os.fsdecode(source) or "<path>" if isinstance(source, (str, os.PathLike)) else f"<{type(source).__name__}>"


def _tree(source: Any) -> Node:
    if isinstance(source, Mapping):
        return from_python(source)
    from lee_llm_router.config.yaml_reader import mark_at, parse  # noqa: PLC0415 - a mapping needs no YAML library

    if isinstance(source, str) and "\n" in source:
        if len(source) > MAX_BYTES:
            raise Refused(f"longer than {MAX_BYTES:,} characters")
        return parse(source)
    if not isinstance(source, (str, os.PathLike)):
        raise Refused("a path, YAML text (with a newline in it) or a mapping is wanted")
    data = _read(os.fsdecode(source))
    text = data.decode(errors="surrogateescape")
    # Found this way, and not by the error of a strict decode, because that error would carry the whole file.
    if bad := _UNDECODED.search(text):
        raise Refused("not UTF-8 text (a binary file?)", mark_at(text, bad.start()))
    return parse(text)


def _read(path: str) -> bytes:
    """At most `MAX_BYTES` of a regular file. Anything else could hang, or never end."""
    if not path:
        raise Refused("the path is empty")
    try:
        mode = FilePath(path).stat().st_mode
        if not stat.S_ISREG(mode):
            raise Refused("a directory, not a file" if stat.S_ISDIR(mode) else "not a regular file")
        with open(path, "rb", opener=_open_at_once) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = " (YAML text would have a newline in it)" if ": " in path else ""
        raise Refused(f"cannot be read: {error.strerror or type(error).__name__}{hint}") from None
    except ValueError:
        raise Refused("not a path") from None
    if len(data) > MAX_BYTES:
        raise Refused(f"larger than {MAX_BYTES:,} bytes")
    return data


def _open_at_once(path: str, flags: int) -> int:
    # Were the file replaced by a FIFO since it was looked at, opening it would wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _top(root: Node, findings: Findings) -> Node | None:
    """The node under ``llm``."""
    if root.value is None:
        findings.add(root.mark, (TOP,), "missing: the file is empty")
    elif not isinstance(root.value, dict):
        findings.add(root.mark, (TOP,), f"missing: a mapping with the key {TOP} is wanted")
    elif TOP in root.value:
        for problem in root.problems:
            if problem.key == TOP:
                findings.add(problem.mark, (TOP,), problem.message)
        found: Node = root.value[TOP].node
        return found
    elif loose := [key for key in ("providers", "roles", "default_role") if key in root.value]:
        mark = root.value[loose[0]].mark
        findings.add(mark, (TOP,), f"missing: put {' and '.join(loose)} under the key {TOP}")
    else:
        near = next(iter(get_close_matches(TOP, [key for key in root.value if len(key) < 10])), None)
        mark = root.mark if near is None else root.value[near].mark
        findings.add(mark, (near or TOP,), f"the top key {TOP} is missing", near, [TOP])
    return None


@dataclass
class _Reading:
    """Turns the tree into plain data, and notes on the way what is wrong and what came from the environment."""

    root: Node
    findings: Findings
    filled: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    """Values that hold a reference."""
    whole: set[Path] = field(default_factory=set)
    """Of these, the ones that are one reference and nothing else."""
    spoilt: set[Path] = field(default_factory=set)
    """Values that were findings already: what else can be said of them follows from that."""

    def plain(self, node: Node, path: Path) -> Any:
        for problem in node.problems:
            self.findings.add(problem.mark, path if problem.key is None else (*path, problem.key), problem.message)
            if problem.key is None:
                self.spoilt.add(path)
        if isinstance(node.value, dict):
            return {key: self.plain(entry.node, (*path, key)) for key, entry in node.value.items()}
        if isinstance(node.value, list):
            return node.sequence(self.plain(item, (*path, index)) for index, item in enumerate(node.value))
        return self._text(node.value, node.mark, path) if isinstance(node.value, str) else node.value

    def _text(self, text: str, mark: Mark, path: Path) -> str | None:
        result = fill(text, os.environ)
        problem = result.problem
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            problem = "text with a NUL, or with half a character"
        if result.references:
            self.filled[path] = result.used
        elif problem is None:
            problem = _literal_secret(result.text, path)
        if result.whole:
            self.whole.add(path)
        if problem is not None:
            self.findings.add(mark, path, problem)
            self.spoilt.add(path)
            return None
        return result.text

    def secrets(self) -> set[str]:
        return {value for values in self.filled.values() for value in values}

    def reread(self, data: Any, paths: Iterable[Path]) -> bool:
        """Read the texts at `paths`, each one whole reference, as YAML would. Whether any changed."""
        from lee_llm_router.config.yaml_reader import read_scalar  # noqa: PLC0415

        changed = False
        for path in paths:
            holder = _at(data, path[1:-1])
            text = holder[path[-1]]
            value = read_scalar(text) if isinstance(text, str) else text
            if value is not text and not isinstance(value, str) and not isinstance(holder, tuple):
                holder[path[-1]] = value
                self.filled[path] = ()
                changed = True
        return changed


def _literal_secret(text: str, path: Path) -> str | None:
    """Why `text`, written in the file, is a key that does not belong there."""
    key = path[-1]
    if len(path) > 1 and path[-2] == "headers" and is_sensitive_header(str(key)) and text:
        return "a key is never written in the file: put ${NAME} in its place, NAME being its environment variable"
    if str(key).endswith("url") and "@" in text:
        try:
            login = "@" in urlsplit(text).netloc
        except ValueError:
            login = True
        if login:
            return "no user or password goes into an address: name the key with api_key_env"
    return None


def _validated(data: Any, reading: _Reading, model: type[ModelT]) -> ModelT | None:
    """`data` as a `model`; None after noting every mistake."""
    if isinstance(data, Mapping):
        for found in check_references(data):
            _note(reading, (TOP, *found.path), found.message, found.word, found.known)
    errors: list[ErrorDetails] = []
    # Once as it is; once more where a reference was read as text and something else is wanted there.
    for _ in range(2):
        try:
            return model.model_validate(data)
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False)
        wanted = {path for error in errors if error["type"] in SCALAR_KINDS and (path := _path_of(error, data))}
        if not reading.reread(data, wanted & reading.whole):
            break
    said: set[Path] = set()
    for error in errors:
        path = _path_of(error, data)
        # References were checked above, on what is written, because pydantic gets to them only where all else is right.
        if path not in said and not (error["type"] == "reference" and reading.findings):
            said.add(path)
            _translate(error, path, data, reading, model)
    return None


def _path_of(error: ErrorDetails, data: Any) -> Path:
    """Where an error stands in the file: pydantic's location without its notes on unions and keys."""
    path: list[str | int] = []
    current, location = data, error["loc"]
    for index, step in enumerate(location):
        if _holds(current, step):
            current = current[step]
        elif error["type"] != "missing" or index < len(location) - 1:
            continue
        path.append(step)
    return (TOP, *path)


def _holds(container: Any, step: str | int) -> bool:
    if isinstance(container, Mapping):
        return step in container
    return isinstance(container, (list, tuple)) and isinstance(step, int) and step < len(container)


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _translate(error: ErrorDetails, path: Path, data: Any, reading: _Reading, model: type[BaseModel]) -> None:
    kind = error["type"]
    message = message_of(error, reading.secrets())
    if kind == "extra_forbidden":
        known = _known_keys(model, path[1:-1], data)
        key = str(path[-1])
        if key.lower() in KEY_WORDS and "api_key_env" in known:
            message = "a key is never written in the file: name its environment variable with api_key_env"
            known = []
        _note(reading, path, message, key, known)
    elif kind in ("literal_error", "enum"):
        words = str((error.get("ctx") or {}).get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
        _note(reading, path, message, error["input"], words)
    elif kind == "unknown_type":
        _note(reading, path, message.partition(" (did")[0], _at(data, path[1:]), registry.available())
    elif error["loc"][-1:] == ("[key]",):
        _note(reading, path, f"as a name, {message}", key=True)
    else:
        _note(reading, path, message)


def _note(
    reading: _Reading, path: Path, message: str, word: Any = None, known: Iterable[str] = (), *, key: bool = False
) -> None:
    if path in reading.spoilt:
        return
    mark = locate(reading.root, path, key=key or message.startswith(("unknown key", "a key is never written")))
    if message.startswith("missing"):
        mark = locate(reading.root, path[:-1], key=True)
    reading.findings.add(mark, path, message, word, known)


def _known_keys(model: type[BaseModel], path: Path, data: Any) -> list[str]:
    """The keys a mapping at `path` may have; none where that cannot be told."""
    current: Any = model
    for index, step in enumerate(path):
        if path[0] == "providers" and index == 1:
            current = _provider_model(_at(data, path[:2]))
        elif isinstance(current, type) and issubclass(current, BaseModel):
            info = current.model_fields.get(field_name(current, step))
            current = _bare(info.annotation) if info else None
        else:
            current = _inner(current)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _provider_model(settings: Any) -> type[BaseModel]:
    try:
        return registry.get(settings["type"]).config_model
    except (ConfigError, KeyError, TypeError):
        return ProviderConfig


def _bare(annotation: Any) -> Any:
    """`annotation` without its options: the model in ``Model | None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return next((part for part in map(_bare, typing.get_args(annotation)) if _inner(part)), None)
    return annotation


def _inner(annotation: Any) -> Any:
    """The model a type annotation is about, if there is one inside it: in a list, a mapping, an option."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_inner(part) for part in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
