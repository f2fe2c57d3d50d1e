"""A cassette as text: one YAML document per exchange, so that one write appends it and people can read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

HEAD = b"# Answers of language models, recorded by Lee LLM Router (docs/testing.md). Do not edit what was asked.\n"


_ODD = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML takes for a line end, or cannot hold unescaped."""


class _Dumper(yaml.SafeDumper):
    """Writes long texts as blocks, and repeated values in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - no reader should have to look elsewhere
        """Return True: write a value that occurs twice in full both times."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _ODD.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def written(exchange: Mapping[str, Any]) -> bytes:
    """Return the document of one exchange."""
    text: str = yaml.dump(
        dict(exchange), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, explicit_start=True
    )
    return text.encode()


def exchanges_in(content: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the exchanges in `content`, and whether its end is missing, as after a killed process.

    Raises:
        ValueError: it is no cassette. The message says where.
    """
    text = content.decode()
    try:
        return _checked(_documents(text)), False
    except (yaml.YAMLError, ValueError) as error:
        # The last document is what was being written when the process was killed.
        before, mark, _ = text.rpartition("\n---")
        try:
            kept = _checked(_documents(before)) if mark else []
        except (yaml.YAMLError, ValueError):
            raise ValueError(_told(error)) from None
        if not kept and content[: len(HEAD)] != HEAD[: len(content)]:
            raise ValueError(_told(error)) from None  # some other file, which nobody recorded
        return kept, True


def _documents(text: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError):  # libyaml rejects half of a surrogate pair, which a model may write
        return list(yaml.load_all(text, Loader=yaml.SafeLoader))


def _checked(documents: list[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for document in documents:
        if document is None:
            continue
        has_request = isinstance(document, dict) and isinstance(document.get("request"), dict)
        if not has_request or not document.keys() & {"answer", "chunks", "embeddings", "error"}:
            raise ValueError(f"document {len(found) + 1} is not an exchange: it needs a request and its outcome")
        found.append(document)
    return found


def _told(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f" at line {mark.line + 1}"
    return f"it cannot be read{where}: {getattr(error, 'problem', None) or error}"
