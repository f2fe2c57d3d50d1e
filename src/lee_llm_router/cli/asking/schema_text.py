"""What `--schema` accepts: a JSON Schema in a file or as text, or a short list of fields.

The short form is that of simonw's `llm`: fields separated by commas, or one per line. A field has a name, a type if it
is not text (``str``, ``int``, ``float``, ``bool``), and after a colon its meaning: ``name: of the dog, age int, is_good
bool``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES: dict[str, type] = {"str": str, "string": str, "int": int, "integer": int, "float": float, "number": float,
                           "bool": bool, "boolean": bool}  # fmt: skip
_MAX_BYTES = 1_000_000


def read_schema(given: str | None) -> Any:
    """Return the schema that `given` names: a mapping, or a type; None for None.

    Raises:
        typer.BadParameter: it has none of these forms.
    """
    text = text_of(given, "--schema")
    if text is None:
        return None
    text = text.strip()
    if text.startswith("{"):
        return _json_schema(text, "it")
    path = Path(text)
    if text.endswith(".json") or ("\n" not in text and _is_file(path)):
        return _json_schema(_read(path), path.name)
    return _type_of_fields(text)


def _json_schema(text: str, what: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong(f"{what} is not JSON") from None
    if not isinstance(schema, dict):
        raise _wrong(f"{what} is not a JSON Schema: that is an object")
    return schema


def _type_of_fields(text: str) -> Any:
    """Return the type of an object with the fields listed in `text`."""
    from pydantic import ConfigDict, Field, TypeAdapter, with_config  # noqa: PLC0415
    from typing_extensions import TypedDict  # noqa: PLC0415

    fields: dict[str, Any] = {}
    for name, kind, meaning in _fields(text):
        if name in fields:
            raise _wrong(f"the field {name!r:.60} occurs twice")
        fields[name] = Annotated[kind, Field(description=meaning)] if meaning else kind
    if not fields:
        raise _wrong("it names no fields")
    made: Any = TypedDict("Answer", fields)  # type: ignore[misc]
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(made))


def _fields(text: str) -> Iterator[tuple[str, type, str]]:
    separator = "\n" if "\n" in text else ","
    for part in text.split(separator):
        words, _, meaning = part.partition(":")
        if not part.strip():
            continue
        match words.split():
            case [name]:
                yield name, str, meaning.strip()
            case [name, kind] if kind.lower() in _TYPES:
                yield name, _TYPES[kind.lower()], meaning.strip()
            case _:
                raise _wrong(
                    f"{part.strip()!r:.80} is not a field: NAME, NAME TYPE or NAME TYPE: MEANING, where TYPE is str,"
                    " int, float or bool"
                )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong(f"{path.name} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise _wrong(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'it is not a path'}") from None


def _wrong(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--schema")
