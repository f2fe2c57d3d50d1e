"""Reads the header of a GGUF file, without llama.cpp: for the doctor, and to refuse a file before loading it.

How this works. A GGUF file (version 2 or 3, of the specification in the ggml project) begins with a magic number, the
numbers of tensors and of fields, then the fields (name, type, value) and a description of each tensor (name, shape,
type, offset); the tensors' data follow. The size of the file limits everything, so that a forged number of elements
ends in an error, not in a long loop. Long lists, such as the words of the vocabulary, are only counted.

llama.cpp reads the file again and checks more. But it reports every refusal with the same sentence, so this module
finds the usual causes: another format, another version, a truncated file.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import field
from functools import lru_cache
from io import BufferedReader
from math import isfinite, prod
from pathlib import Path
from typing import Any

from lee_llm_router._util.data_class import dataclass

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_FIELDS = 65_536
_MAX_TENSORS = 1_000_000
_MAX_NAME = 65_535
_MAX_KEPT_TEXT = 1_000_000
"""Size in bytes of the longest text to keep, such as a chat template."""
_MAX_KEPT_LIST = 4096
"""Length of the longest list of numbers to keep, which has one for each layer."""
_DEFAULT_ALIGNMENT = 32
_MAX_NUMBER = 2**31 - 1
_MIN_TRAINED = 16
"""Tokens of the shortest plausible training context."""

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_TEXT, _LIST = 8, 9

_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1),
    25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17),
}  # fmt: skip
"""Elements and bytes of a block, by ggml's number of the type."""


class GGUFError(Exception):
    """The file is not a usable GGUF file; the text says why, as the end of a sentence that names the file."""


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a file says about its model."""

    size: int
    """Size of the file in bytes."""
    fields: dict[str, Any] = field(repr=False)
    """Numbers, texts and short lists of numbers, by name."""
    lengths: dict[str, int] = field(repr=False)
    """The number of elements of each list."""

    @property
    def architecture(self) -> str:
        """The kind of model: ``llama``, ``qwen3``."""
        return str(self.fields.get("general.architecture") or "")

    @property
    def name(self) -> str:
        """The name from its makers; empty if there is none."""
        return str(self.fields.get("general.name") or "")

    @property
    def vocabulary(self) -> int:
        """The size of the model's vocabulary in tokens."""
        return self.lengths.get("tokenizer.ggml.tokens", 0)

    @property
    def context_length(self) -> int | None:
        """Tokens of the longest conversation in its training."""
        return self.number("context_length") or None

    @property
    def chat_template(self) -> str | None:
        """The template that turns messages into one text (Jinja); None if the file has none."""
        template = self.fields.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None

    def number(self, name: str) -> int:
        """Return the architecture's own field `name` as an integer; for a list the largest element; 0 if it is
        missing."""
        value = self.fields.get(f"{self.architecture}.{name}", 0)
        numbers = [one for one in (value if isinstance(value, list) else [value]) if type(one) is int and one > 0]
        return max(numbers, default=0)


def read_header(path: Path) -> GGUFHeader:
    """Return what the file at `path` says about its model.

    Raises:
        OSError: it cannot be read.
        GGUFError: it is not a complete GGUF file.
    """
    try:
        status = path.stat()
    except ValueError:  # a NUL in the path
        raise FileNotFoundError(2, "no such file", str(path)) from None
    if stat.S_ISDIR(status.st_mode):
        raise GGUFError("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise GGUFError("is not a regular file")
    return _header_of(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=16)
def _header_of(path: Path, size: int, changed: int, number: int) -> GGUFHeader:  # noqa: ARG001 - it is another file then
    with path.open("rb") as file:
        return _Reader(file, os.fstat(file.fileno()).st_size).header()


class _Reader:
    def __init__(self, file: BufferedReader, size: int) -> None:
        self._file = file
        self._size = size

    def header(self) -> GGUFHeader:
        magic = self._file.read(4)
        if magic != _MAGIC:
            raise GGUFError(_what_else(magic))
        version = self._unpack("<I")
        if version not in _VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            kind = "is written for big-endian machines" if swapped in _VERSIONS else f"has GGUF version {version}"
            raise GGUFError(f"{kind}; versions 2 and 3, little-endian, can be read")
        tensors, count = self._unpack("<Q"), self._unpack("<Q")
        if count > _MAX_FIELDS or tensors > _MAX_TENSORS:
            raise GGUFError(f"cannot be right: it says it has {count} fields and {tensors} tensors")
        fields: dict[str, Any] = {}
        lengths: dict[str, int] = {}
        for _ in range(count):
            name = self._text(_MAX_NAME)
            kind = self._unpack("<I")
            if kind == _LIST:
                lengths[name], fields[name] = self._list()
            else:
                fields[name] = self._value(kind)
        header = GGUFHeader(self._size, fields, lengths)
        if not header.architecture:
            raise GGUFError("does not name the architecture of its model")
        _check_numbers(header)
        self._check_tensors(tensors, fields)
        return header

    def _check_tensors(self, count: int, fields: dict[str, Any]) -> None:
        """Check that the file is as long as its tensors require."""
        if not count:
            raise GGUFError("holds no tensors: it is a vocabulary or a template, not a model")
        end = 0
        for _ in range(count):
            self._text(_MAX_NAME)
            dimensions = self._unpack("<I")
            if dimensions > 8:
                raise GGUFError(f"cannot be right: a tensor has {dimensions} dimensions")
            elements = prod(self._unpack("<Q") for _ in range(dimensions))
            block = _BLOCKS.get(self._unpack("<I"))
            offset = self._unpack("<Q")
            end = max(end, offset + (0 if block is None else -(-elements // block[0]) * block[1]))
        alignment = fields.get("general.alignment")
        alignment = alignment if type(alignment) is int and alignment > 0 else _DEFAULT_ALIGNMENT
        end += -(-self._file.tell() // alignment) * alignment
        if end > self._size:
            raise GGUFError(f"is cut: it has {self._size} of {end} bytes")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text(_MAX_KEPT_TEXT, keep=True)
        if kind not in _SCALARS:
            raise GGUFError(f"cannot be right: a field has the type {kind}")
        return self._unpack(_SCALARS[kind])

    def _list(self) -> tuple[int, list[Any] | None]:
        kind, count = self._unpack("<I"), self._unpack("<Q")
        if kind == _TEXT:
            self._need(count * 8)
            for _ in range(count):
                self._skip(self._unpack("<Q"))
            return count, None
        if kind not in _SCALARS:
            raise GGUFError(f"cannot be right: a list has elements of the type {kind}")
        size = struct.calcsize(_SCALARS[kind])
        if count > _MAX_KEPT_LIST:
            self._skip(count * size)
            return count, None
        data = self._read(count * size)
        return count, [one for (one,) in struct.iter_unpack(_SCALARS[kind], data)]

    def _text(self, limit: int, *, keep: bool = False) -> str:
        length = self._unpack("<Q")
        if length > limit:
            if not keep:
                raise GGUFError(f"cannot be right: a name has {length} bytes")
            self._skip(length)
            return ""
        return self._read(length).decode("utf-8", "replace")

    def _unpack(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise self._cut()
        return data

    def _skip(self, count: int) -> None:
        self._need(count)
        self._file.seek(count, os.SEEK_CUR)

    def _need(self, count: int) -> None:
        if count > self._size - self._file.tell():
            raise self._cut()

    def _cut(self) -> GGUFError:
        return GGUFError(f"is cut: it ends after {self._size} bytes, in the middle of its header")


def _check_numbers(header: GGUFHeader) -> None:
    """Check the numbers that llama.cpp trusts: it ends the process if they cannot be true."""
    for name, value in header.fields.items():
        if isinstance(value, float) and (not isfinite(value) or (value < 0 and name.endswith("epsilon"))):
            raise GGUFError(f"cannot be right: {name} is {value}")
        if type(value) is int and name.startswith(f"{header.architecture}.") and not 0 <= value <= _MAX_NUMBER:
            raise GGUFError(f"cannot be right: {name} is {value}")
    for own, least in (("block_count", 1), ("context_length", _MIN_TRAINED)):
        value = header.fields.get(f"{header.architecture}.{own}")
        if type(value) is int and value < least:
            raise GGUFError(f"cannot be right: {header.architecture}.{own} is {value}")


def _what_else(magic: bytes) -> str:
    """Return what a file is that does not begin like a GGUF file, as the end of a sentence."""
    if not magic:
        return "is empty"
    if len(magic) < 4:
        return f"is not a GGUF file: it has {len(magic)} bytes"
    known = {
        b"PK\x03\x04": "a zip archive, such as PyTorch writes",
        b"<!DO": "a web page", b"<htm": "a web page", b"\n<!D": "a web page",
        b"vers": "a pointer of Git LFS: fetch the file itself with `git lfs pull`",
        b"lmgg": "in the older format GGML", b"tjgg": "in the older format GGJT", b"fmgg": "in the older format GGMF",
    }  # fmt: skip
    what = known.get(magic)
    return f"is not a GGUF file: it begins with {magic!r}" if what is None else f"is not a GGUF file: it is {what}"
