"""What a configuration says, as a tree that knows where each thing stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lee_llm_router.settings.model import Path

MAX_NODES = 100_000
"""Values a configuration may hold once its anchors are expanded: far above any real file, far below what hurts."""

MAX_DEPTH = 100
"""Levels of nesting: far above any real file, far below Python's recursion limit."""


class Mark(NamedTuple):
    """A place in the file, both from 1. In a mapping without a file: line 0, and the column counts the values."""

    line: int
    column: int


class Refused(Exception):
    """The source cannot be read as a tree at all."""

    def __init__(self, message: str, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark


class Problem(NamedTuple):
    """Something wrong at one node, known before anybody asks what the node means."""

    mark: Mark
    message: str
    key: str | None = None
    """The key it is about, where it is about a key and not the value."""


class Entry(NamedTuple):
    """One entry of a mapping."""

    mark: Mark
    """Of the key."""
    node: Node


@dataclass(slots=True)
class Node:
    """A scalar, a list of nodes, or a mapping of entries."""

    mark: Mark
    value: Any
    """A plain value, ``list[Node]`` or ``dict[str, Entry]``."""
    size: int = 1
    """Values in it, itself included, with every alias counted in full."""
    height: int = 1
    problems: list[Problem] = field(default_factory=list)
    sequence: type = list
    """What a sequence is turned back into."""

    def adopt(self, child: Node) -> None:
        """Count `child` as part of this node.

        Raises:
            Refused: too much, or too deep.
        """
        self.size += child.size
        self.height = max(self.height, child.height + 1)
        if self.size > MAX_NODES:
            raise Refused(f"more than {MAX_NODES:,} values, counting what anchors repeat", child.mark)
        if self.height > MAX_DEPTH:
            raise Refused(f"nested deeper than {MAX_DEPTH} levels", self.mark)


def from_python(source: Mapping[Any, Any]) -> Node:
    """The tree of a Python mapping. Mappings, lists and tuples are walked; everything else is a plain value.

    Raises:
        Refused: too large, too deep, or holding itself.
    """
    counter = iter(range(1, MAX_NODES + 1))

    def mark() -> Mark:
        place = next(counter, None)
        if place is None:
            raise Refused(f"more than {MAX_NODES:,} values")
        return Mark(0, place)

    def walk(value: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Refused(f"nested deeper than {MAX_DEPTH} levels, or holding itself")
        node = Node(mark(), value)
        if isinstance(value, Mapping):
            node.value = {}
            for key, item in value.items():
                if isinstance(key, str):
                    node.value[key] = Entry(mark(), walk(item, depth + 1))
                else:
                    node.problems.append(Problem(mark(), "a key must be text"))
        elif isinstance(value, (list, tuple)):
            node.sequence = tuple if isinstance(value, tuple) else list
            node.value = [walk(item, depth + 1) for item in value]
        return node

    return walk(source, 1)


def locate(root: Node, path: Path, *, key: bool = False) -> Mark:
    """Where the value at `path` stands, or its key with `key=True`; where there is none, what encloses it.

    An entry of a list has no key: its own place is given.
    """
    node, place = root, root.mark
    for step in path:
        if isinstance(node.value, dict) and isinstance(entry := node.value.get(step), Entry):
            node, place = entry.node, entry.mark
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            place = node.mark
        else:
            return place
    return place if key else node.mark
