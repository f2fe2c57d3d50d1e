"""Reads rows from a file, piece by piece: JSON lines, CSV, or one prompt per line. Reports invalid rows by line."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, cast, get_args

from pydantic_core import from_json

from lee_llm_router.batch.rows import BatchRow, BrokenRow, RowForm
from lee_llm_router.batch.settings import RowFormat
from lee_llm_router.batch.template import PromptTemplate
from lee_llm_router.errors import ConfigError

MAX_LINE = 64 << 20
"""The most bytes of a line: a row with a few pictures in it."""

_TOO_LONG = b""
"""Stands for a line of more than `MAX_LINE` bytes. Any other has its newline, or content at the end of the file."""
_BLOCK = 1 << 16
_ROWS_AT_ONCE = 256
_BY_SUFFIX: dict[str, RowFormat] = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "text"}
_JSON_CELLS = ("messages", "options", "metadata")
"""Columns whose cells hold JSON."""

FoundRow = BatchRow | BrokenRow


def format_of(path: Path, given: str | None) -> RowFormat:
    """Return the format of the file `path`: `given`, else by its name, else JSON lines.

    Raises:
        ConfigError: there is no such format.
    """
    if given is None:
        return _BY_SUFFIX.get(path.suffix.lower(), "jsonl")
    if given not in get_args(RowFormat):
        raise ConfigError(f"no such format: {given!r:.40}; there are {', '.join(get_args(RowFormat))}", sent=False)
    return cast("RowFormat", given)


class RowFile:
    """The rows of one file.

    Args:
        path: The file; ``-`` is standard input.
        form: Makes rows of values.
        template: The template that `form` fills, to find its fields in a table's header.
        row_format: The format of the file.

    Raises:
        ConfigError: it cannot be read, or is not a table with the required columns.
    """

    def __init__(self, path: Path, form: RowForm, template: PromptTemplate | None, row_format: RowFormat) -> None:
        self.name = path.name
        self._path, self._form, self._template = path, form, template
        self._read_bytes = 0
        self._line = 0
        is_input = str(path) == "-"
        try:
            self._descriptor = os.dup(0) if is_input else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            status = os.fstat(self._descriptor)
            self._size = status.st_size
            self.may_wait = not stat.S_ISREG(status.st_mode)
            lines = self._lines()
            first = next(lines, None)
            # Remove the byte order mark.
            self._lines_left = lines if first is None else chain([first.removeprefix(b"\xef\xbb\xbf")], lines)
            self._check_encoding(first)
            if row_format == "jsonl":
                self._check_lines(first or b"")
            read = {"jsonl": self._json_rows, "text": self._text_rows}.get(row_format)
            self._rows = read() if read is not None else self._table("\t" if row_format == "tsv" else ",")
        except OSError as error:
            self.close()
            raise self._unreadable(error) from None
        except BaseException:
            self.close()
            raise

    may_wait: bool
    """Whether reading may wait for a writer: a pipe, a terminal."""

    @property
    def share_read(self) -> float | None:
        """The share read so far, from 0 to 1; None if the size is unknown."""
        return min(1.0, self._read_bytes / self._size) if self._size else None

    def next_rows(self) -> list[FoundRow]:
        """Return the next rows; an empty list at the end. It may wait for the writer of a pipe.

        Raises:
            ConfigError: the file cannot be read any more.
        """
        rows: list[FoundRow] = []
        before = self._read_bytes
        try:
            for row in self._rows:
                rows.append(row)
                # Pass on what a pipe has delivered before waiting for more, and pass on long rows in small numbers.
                if len(rows) >= _ROWS_AT_ONCE or self._read_bytes > before + _BLOCK or not self._has_lines:
                    break
        except OSError as error:
            raise self._unreadable(error) from None
        return rows

    def _unreadable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: cannot be read: {error.strerror or error}", sent=False)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lines(self) -> Iterator[bytes]:
        """Yield each line with its newline; nothing (`_TOO_LONG`) for a line that is too long."""
        parts: list[bytes] = []
        size = 0
        while block := os.read(self._descriptor, _BLOCK):
            self._read_bytes += len(block)
            first, *others = block.split(b"\n")
            size += len(first)
            # The rest of a line that is too long is read and dropped.
            if size > MAX_LINE:
                parts.clear()
            else:
                parts.append(first)
            if not others:
                continue
            rest = others.pop()
            self._has_lines = bool(others)
            yield _TOO_LONG if size > MAX_LINE else b"".join(parts) + b"\n"
            # A line within one block is shorter than that.
            for number, line in enumerate(others, 1):
                self._has_lines = number < len(others)
                yield line + b"\n"
            parts, size = [rest], len(rest)
        self._has_lines = False
        if size:
            yield _TOO_LONG if size > MAX_LINE else b"".join(parts)

    _has_lines = False
    """Whether another line is available without further reading."""

    def _check_encoding(self, first: bytes | None) -> None:
        if first is not None and first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ConfigError(f"{self._path}: it is UTF-16; save it as UTF-8", sent=False)

    def _check_lines(self, first: bytes) -> None:
        """Refuse a JSON document over several lines, each of which would be a broken row."""
        start = first.removeprefix(b"\xef\xbb\xbf").strip()
        if start in (b"[", b"{") or (start.startswith(b"[{") and start.endswith(b",")):
            raise ConfigError(
                f"{self._path}: it is one JSON document over several lines; write each row on its own line"
                " (jq -c '.[]' makes lines of a list)",
                sent=False,
            )

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        for line in self._lines_left:
            self._line += 1
            yield self._line, line

    def _json_rows(self) -> Iterator[FoundRow]:
        form = self._form
        for number, line in self._numbered():
            if line is _TOO_LONG:
                yield _too_long(number)
            elif not line.isspace():
                try:
                    try:
                        value = from_json(line)
                    except ValueError:
                        # This is faster, but does not handle lone surrogates, and gives less detail on errors.
                        value = json.loads(line)
                except UnicodeDecodeError:
                    yield BrokenRow(line=number, reason="it is not UTF-8 text")
                except (ValueError, RecursionError) as error:
                    reason = f": {error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                    yield BrokenRow(line=number, reason=f"it is not JSON{reason}")
                else:
                    yield form.row(value, number)

    def _text_rows(self) -> Iterator[FoundRow]:
        for number, line in self._numbered():
            if line is _TOO_LONG:
                yield _too_long(number)
            elif not line.isspace():
                try:
                    yield self._form.row(line.decode().rstrip("\r\n"), number)
                except UnicodeDecodeError:
                    yield BrokenRow(line=number, reason="it is not UTF-8 text")

    def _texts(self) -> Iterator[str]:
        for _, line in self._numbered():
            # Bytes that are not UTF-8 become lone surrogates, which no valid text contains.
            yield "\n" if line is _TOO_LONG else line.decode(errors="surrogateescape")

    def _table(self, delimiter: str) -> Iterator[FoundRow]:
        # A cell may hold a whole document, but the csv module has a global limit of 131,072 characters.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
        reader = csv.reader(self._texts(), delimiter=delimiter, strict=True)
        try:
            header = [name.strip() for name in next((cells for cells in reader if cells), [])]
        except csv.Error as error:
            raise ConfigError(f"{self._path}: its header cannot be read: {error}", sent=False) from None
        self._check_header(header)
        return self._table_rows(reader, header)

    def _check_header(self, header: list[str]) -> None:
        if len(set(header)) < len(header):
            raise ConfigError(f"{self._path}: two columns of its header have the same name", sent=False)
        wanted = {"prompt"} if self._template is None else self._template.fields
        missing = sorted(wanted - set(header))
        if missing and not (self._template is None and "messages" in header):
            shown = ", ".join(header)[:300] or "none"
            raise ConfigError(f"{self._path}: it has no column {missing[0]!r}; its columns: {shown}", sent=False)

    def _table_rows(self, reader: Any, header: list[str]) -> Iterator[FoundRow]:
        while True:
            begin = self._line + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield BrokenRow(line=begin, reason=f"it cannot be read: {error}")
                continue
            if cells is None:
                return
            if not cells:
                continue
            if len(cells) != len(header):
                reason = f"it has {len(cells)} cells, but the header {len(header)}"
                yield BrokenRow(line=begin, reason=reason)
            elif any("\ud800" <= character <= "\udfff" for cell in cells if not cell.isascii() for character in cell):
                yield BrokenRow(line=begin, reason="it is not UTF-8 text")
            else:
                yield self._table_row(dict(zip(header, cells, strict=True)), begin)

    def _table_row(self, fields: dict[str, Any], line: int) -> FoundRow:
        for name in _JSON_CELLS:
            if fields.get(name) and not (self._template is not None and name in self._template.fields):
                try:
                    fields[name] = json.loads(fields[name])
                except (ValueError, RecursionError):
                    return BrokenRow(line=line, reason=f"its {name} is not JSON", id=fields.get("id") or None)
        return self._form.row(fields, line)


def _too_long(line: int) -> BrokenRow:
    return BrokenRow(line=line, reason=f"it is longer than {MAX_LINE >> 20} MB")
