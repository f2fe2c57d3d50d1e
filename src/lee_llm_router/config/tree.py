"""The tree of a configuration: its values, each with its position in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, NamedTuple

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.settings.mistakes import FindingKind, PointsAt
from lee_llm_router.settings.model import KeyPath

TOP_KEY = "llm"
"""The key under which a file holds the router's section."""

MAX_NODES = 100_000
"""The most values in a configuration with its anchors expanded: far above any real file, far below what hurts."""

MAX_DEPTH = 100
"""Levels of nesting: far above any real file, far below Python's recursion limit."""


class Position(NamedTuple):
    """A position in the file; line and column start at 1.

    In a mapping without a file the line is 0 and the column counts the values.
    """

    line: int
    column: int


class UnreadableSourceError(Exception):
    """Raised if a source cannot be read as a tree at all."""

    def __init__(self, message: str, position: Position | None = None, kind: FindingKind = "unreadable") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.kind: FindingKind = kind


class NodeProblem(NamedTuple):
    """A mistake found while building the tree, before the meaning of the node is known."""

    position: Position
    message: str
    key: str | None = None
    """The key of the node with the mistake; None if the mistake is in the node itself."""
    kind: FindingKind = "form"


class Entry(NamedTuple):
    """One entry of a mapping."""

    position: Position
    """Position of the key."""
    node: Node


@dataclass(slots=True)
class Node:
    """A scalar, a list of nodes, or a mapping of entries."""

    position: Position
    value: Any
    """A plain value, ``list[Node]`` or ``dict[str, Entry]``."""
    size: int = 1
    """Number of values in the node, including itself; values repeated through an alias count each time."""
    height: int = 1
    """Levels of nesting in the node, including its own."""
    problems: list[NodeProblem] = field(default_factory=list)
    sequence: type = list
    """The Python type into which a list of nodes is converted back."""

    def adopt(self, child: Node) -> None:
        """Count `child` as part of this node.

        Raises:
            UnreadableSourceError: the node is now too large or too deep.
        """
        self.size += child.size
        self.height = max(self.height, child.height + 1)
        if self.size > MAX_NODES:
            raise UnreadableSourceError(f"more than {MAX_NODES:,} values, counting what anchors repeat", child.position)
        if self.height > MAX_DEPTH:
            raise UnreadableSourceError(f"nested deeper than {MAX_DEPTH} levels", self.position)


def from_python(source: Mapping[Any, Any]) -> Node:
    """Return the tree of a Python mapping. It walks mappings, lists and tuples; any other object is a plain value.

    Raises:
        UnreadableSourceError: the mapping is too large, too deep, or contains itself.
    """
    counter = iter(range(1, MAX_NODES + 1))

    def next_position() -> Position:
        number = next(counter, None)
        if number is None:
            raise UnreadableSourceError(f"more than {MAX_NODES:,} values")
        return Position(0, number)

    def walk(value: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise UnreadableSourceError(f"nested deeper than {MAX_DEPTH} levels, or holding itself")
        node = Node(next_position(), value)
        if isinstance(value, Mapping):
            node.value = {}
            for key, item in value.items():
                if isinstance(key, str):
                    node.value[key] = Entry(next_position(), walk(item, depth + 1))
                else:
                    node.problems.append(NodeProblem(next_position(), "a key must be text"))
        elif isinstance(value, (list, tuple)):
            node.sequence = tuple if isinstance(value, tuple) else list
            node.value = [walk(item, depth + 1) for item in value]
        return node

    return walk(source, 1)


def locate(section: Entry, path: KeyPath, at: PointsAt = "value") -> Position:
    """Return the position of the value at `path` in `section`, of its key, or of the key of its parent.

    If there is nothing at `path`, return the position of the innermost key that exists. An item of a list has no key:
    its own position is returned.
    """
    if at == "parent":
        path, at = path[:-1], "key"
    key_position, node = section
    for step in path:
        if isinstance(node.value, dict) and isinstance(entry := node.value.get(step), Entry):
            key_position, node = entry
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            key_position = node.position
        else:
            return key_position
    return key_position if at == "key" else node.position


def value_at(data: Any, path: KeyPath) -> Any:
    """Return the value at `path` of plain data."""
    for step in path:
        data = data[step]
    return data
