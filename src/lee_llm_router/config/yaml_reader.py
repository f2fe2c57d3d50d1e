"""YAML text -> a tree with positions. A file cannot run code, and its anchors cannot multiply or nest without limit."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lee_llm_router.config.syntax_causes import likely_cause
from lee_llm_router.config.tree import MAX_DEPTH, Entry, Node, NodeProblem, Position, UnreadableSourceError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2.2, production [1] c-printable, without the byte order mark, which is allowed only at the start of a file.
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "str"))
# YAML 1.1 reads these plain scalars as dates, "=" and "<<". A configuration does not need them: they are read as text.
_TEXT_TAGS = frozenset(_TAG + name for name in ("timestamp", "value", "merge"))
_MERGE = _TAG + "merge"

# Numbers as in YAML 1.2. YAML 1.1, and so PyYAML, reads `1e-3` and `1.5e3` as text: it requires a dot and a sign.
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+")
_MAX_NUMBER = 400
"""The most characters of a number. Reading a number takes time quadratic in its length."""


def parse(text: str) -> Node:
    """Return the tree of the one document in `text`.

    Raises:
        UnreadableSourceError: it is not YAML, or too large, too deep, or built from anchors that multiply.
    """
    text = text.removeprefix("\ufeff")
    if found := _NOT_PRINTABLE.search(text):
        raise UnreadableSourceError(
            "a character that YAML does not allow (a binary file?)", position_at(text, found.start())
        )
    loader = _Loader(text)
    try:
        return _Composer(loader).document()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, error) from None
    except yaml.YAMLError:
        raise UnreadableSourceError("not YAML", kind="syntax") from None
    finally:
        loader.dispose()


def read_scalar(text: str) -> Any:
    """Return the meaning of `text` as a plain YAML scalar: a number, a boolean, None, or the text itself.

    Surrounding white space is ignored, as for a plain scalar in a file.
    """
    loader, plain = _Loader(""), text.strip()
    try:
        value = _scalar(loader, plain, _tag_of_plain(plain, loader.resolve(yaml.ScalarNode, plain, (True, False))))
    except ValueError:
        return text
    finally:
        loader.dispose()
    return text if isinstance(value, str) else value


def position_at(text: str, offset: int) -> Position:
    """Return the position of the character `offset` of `text`."""
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - before.rfind("\n"))


def _tag_of_plain(text: str, tag: str) -> str:
    """Return the tag of the plain scalar `text`, whose YAML 1.1 tag is `tag`."""
    return _TAG + "float" if tag == _TAG + "str" and _FLOAT.fullmatch(text, 0, _MAX_NUMBER) else tag


def _scalar(loader: Any, text: str, tag: str) -> Any:
    """Return the value of `text`; raise ValueError if it does not have the type of `tag`."""
    if tag == _TAG + "str" or tag in _TEXT_TAGS:
        return text
    if len(text) > _MAX_NUMBER:
        raise ValueError(tag)
    try:
        return getattr(loader, "construct_yaml_" + tag.removeprefix(_TAG))(yaml.ScalarNode(tag, text))
    except (ValueError, KeyError, IndexError, OverflowError):
        raise ValueError(tag) from None


def _syntax_error(text: str, error: yaml.MarkedYAMLError) -> UnreadableSourceError:
    at = error.problem_mark or error.context_mark
    position = None if at is None else _position(at)
    lines = text.split("\n")
    line = lines[position.line - 1] if position is not None and position.line <= len(lines) else ""
    if line[: len(line) - len(line.lstrip())].count("\t"):
        return UnreadableSourceError("a tab: indent with spaces", position, "syntax")
    said = ", ".join(part for part in (error.problem, error.context) if part)
    return UnreadableSourceError(f"not YAML: {said}{likely_cause(lines, position, said)}", position, "syntax")


def _position(mark: Any) -> Position:
    """Convert a PyYAML mark, which counts from 0, to a position."""
    return Position(mark.line + 1, mark.column + 1)


class _OpenCollection:
    """A list or mapping whose end event has not come yet."""

    __slots__ = ("anchor", "key", "key_is_merge", "merged", "node")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Node | None = None
        self.key_is_merge = False
        self.merged: list[Node] = []


class _Composer:
    """Builds nodes from PyYAML's events, with a list as the stack, so that deep nesting needs no recursion."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._stack: list[_OpenCollection] = []
        self._anchors: dict[str, Node | None] = {}
        """Nodes by anchor; None while the anchored node is still open."""
        self._root: Node | None = None

    def document(self) -> Node:
        """Return the root of the only document."""
        while not isinstance(event := self._loader.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                raise UnreadableSourceError(
                    "a second document: only one is allowed", _position(event.start_mark), "syntax"
                )
            if isinstance(event, yaml.ScalarEvent):
                self._scalar_event(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._start(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
        return self._root or Node(Position(1, 1), None)

    def _scalar_event(self, event: Any) -> None:
        position, tag = _position(event.start_mark), event.tag
        if tag in (None, "!"):
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            if event.implicit[0] and not self._is_at_key():
                tag = _tag_of_plain(event.value, tag)
            allowed = True
        else:
            allowed = tag in _SCALAR_TAGS
        node = Node(position, None)
        if not allowed:
            node.problems.append(NodeProblem(position, "a tag, which is not allowed here"))
        else:
            try:
                node.value = _scalar(self._loader, event.value, tag)
            except ValueError:
                kind = {"int": "whole number", "float": "number", "bool": "boolean"}.get(
                    tag.removeprefix(_TAG), "value"
                )
                node.problems.append(NodeProblem(position, f"not a {kind} that can be read"))
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node, is_merge=tag == _MERGE)

    def _is_at_key(self) -> bool:
        """Whether the next node is the key of a mapping."""
        return bool(self._stack) and isinstance(self._stack[-1].node.value, dict) and self._stack[-1].key is None

    def _alias(self, event: Any) -> None:
        position = _position(event.start_mark)
        if event.anchor not in self._anchors:
            raise UnreadableSourceError(
                "an alias (*) of an anchor (&) that does not come before it", position, "syntax"
            )
        target = self._anchors[event.anchor]
        if target is None:
            raise UnreadableSourceError("an anchor (&) that contains itself", position, "syntax")
        self._add(Node(position, target.value, target.size, target.height, target.problems))

    def _start(self, event: Any) -> None:
        position = _position(event.start_mark)
        is_map = isinstance(event, yaml.MappingStartEvent)
        node = Node(position, {} if is_map else [])
        if event.tag not in (None, "!", _TAG + ("map" if is_map else "seq")):
            node.problems.append(NodeProblem(position, "a tag, which is not allowed here"))
        if len(self._stack) >= MAX_DEPTH:
            raise UnreadableSourceError(f"nested deeper than {MAX_DEPTH} levels", position)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_OpenCollection(node, event.anchor))

    def _end(self) -> None:
        done = self._stack.pop()
        for source in done.merged:
            for key, entry in source.value.items():
                done.node.value.setdefault(key, entry)
            done.node.problems += source.problems
        if done.anchor:
            self._anchors[done.anchor] = done.node
        self._add(done.node)

    def _add(self, node: Node, *, is_merge: bool = False) -> None:
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.node.adopt(node)
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is None:
            parent.key, parent.key_is_merge = node, is_merge
        else:
            key, parent.key = parent.key, None
            self._add_entry(parent, key, node)

    def _add_entry(self, parent: _OpenCollection, key: Node, node: Node) -> None:
        problems, entries = parent.node.problems, parent.node.value
        if parent.key_is_merge:
            sources = node.value if isinstance(node.value, list) else [node]
            if all(isinstance(source.value, dict) for source in sources):
                parent.merged += sources
            else:
                problems.append(NodeProblem(node.position, "<< takes a mapping or a list of mappings", "<<"))
        elif key.problems or not isinstance(key.value, str):
            problems.append(NodeProblem(key.position, "a key must be text: put it in quotes"))
        elif key.value in entries:
            first = entries[key.value].position.line
            problems.append(NodeProblem(key.position, f"duplicate key, first on line {first}", key.value, "duplicate"))
        else:
            entries[key.value] = Entry(key.position, node)
