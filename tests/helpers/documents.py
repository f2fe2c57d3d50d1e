"""The documents, and the fenced blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("backlog/*.md")])
PLAYED = [path for path in DOCUMENTS if path.parent.name == "docs" or path.name == "README.md"]
"""The documents for users, whose code is run and checked."""
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    path: Path
    line: int
    """Of its first line of content, from 1."""
    language: str
    text: str
    follows: bool
    """Whether nothing but blank lines stands between it and the block before."""

    @property
    def place(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    blocks: list[Block] = []
    end = 0
    for match in FENCE.finditer(text):
        indent, language, content = match.groups()
        content = re.sub(f"^{indent}", "", content, flags=re.MULTILINE) if indent else content
        line = text.count("\n", 0, match.start(3)) + 1
        between = text[end : match.start()]
        blocks.append(Block(path, line, language, content, follows=bool(blocks) and not between.strip()))
        end = match.end()
    return blocks


def code_of(path: Path) -> str:
    """The Python of a document as one program, each line where it stands in the document."""
    lines: list[str] = []
    for block in blocks_of(path):
        if block.language == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"
