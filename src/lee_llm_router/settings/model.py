"""Models that do not show what an environment variable or a sensitive header put into them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, PrivateAttr, SerializerFunctionWrapHandler, model_serializer

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.scrubbing import MASK

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and list indexes, from the outermost in."""

_SENSITIVE_HEADER = re.compile(
    r"(?:^|[-_])(?:auth|authorization|(?:api)?[-_]?key|token|secret|cookie|password|credentials?)$", re.IGNORECASE
)


_building = ForkLock(reentrant=True)


def is_sensitive_header(name: str) -> bool:
    """Whether the HTTP header `name` commonly carries a key: Authorization, X-Api-Key, Cookie and the like."""
    return _SENSITIVE_HEADER.search(name) is not None


class RedactingModel(BaseModel):
    """Frozen, closed to unknown keys, and shows ``***`` in place of values that came from the environment.

    Masked are `repr`, `str` and JSON dumps (``model_dump_json``, ``model_dump(mode="json")``). A Python dump and the
    attributes hold the values. Sensitive headers are masked wherever they came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    _filled: dict[Path, tuple[str, ...]] = PrivateAttr(default_factory=dict)
    """Places inside this model that hold ``${...}`` values, and the values of the variables used there."""

    @classmethod
    def model_rebuild(
        cls,
        *,
        force: bool = False,
        raise_errors: bool = True,
        _parent_namespace_depth: int = 2,
        _types_namespace: Any = None,
    ) -> bool | None:
        """Build what checks values, as pydantic does when a model is first used. One thread at a time."""
        # Pydantic before 2.14 takes a class apart to build it, under the eyes of other threads that use it.
        with _building:
            return super().model_rebuild(
                force=force,
                raise_errors=raise_errors,
                _parent_namespace_depth=_parent_namespace_depth + 1,
                _types_namespace=_types_namespace,
            )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        shown = self._masked(dict(super().__repr_args__()))
        yield from shown.items()

    @model_serializer(mode="wrap", when_used="json")
    def _json_masked(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self._masked(handler(self))

    def _masked(self, shown: dict[Any, Any]) -> dict[Any, Any]:
        """`shown`, a mapping by field name or alias, with what must not be seen replaced."""
        paths = [*self._filled, *(("headers", name) for name in _sensitive(shown.get("headers")))]
        for head, *rest in paths:
            key = head if head in shown else type(self)._alias(head)
            if key in shown:
                shown = {**shown, key: _mask(shown[key], rest)}
        return shown

    @classmethod
    def _alias(cls, name: str | int) -> str | int:
        field = cls.model_fields.get(str(name))
        return name if field is None or field.alias is None else field.alias

    def changed(self, overrides: Mapping[str, Any]) -> Self:
        """A copy with `overrides` in place of the fields of those names, checked; the rest stays redacted.

        Raises:
            pydantic.ValidationError: an unknown name, or a value that does not fit.
        """
        other = type(self).model_validate({**dict(self), **overrides})
        other._filled.update({path: used for path, used in self._filled.items() if path[0] not in overrides})
        return other

    def filled_values(self) -> tuple[str, ...]:
        """Values of environment variables that stand, as text, in this model or one inside it; none twice.

        Names of providers and models are left out: those are shown in traces anyway.
        """
        found = {
            value: None
            for model in _models(self)
            for path, values in model._filled.items()
            if path not in (("model",), ("provider",))
            for value in values
        }
        return tuple(found)


def note_filled(model: RedactingModel, filled: Mapping[Path, tuple[str, ...]]) -> None:
    """Tell `model`, and those inside it, which places were filled from the environment.

    Each place is noted at the innermost model on its path. Where the path leads no further (a value was
    converted to something else), everything from there inwards counts as filled.
    """
    for path, values in filled.items():
        owner, start, current = model, 0, model
        for depth, key in enumerate(path):
            current = _step(current, key)
            if isinstance(current, RedactingModel):
                owner, start = current, depth + 1
        rest = tuple(key if i else field_name(type(owner), key) for i, key in enumerate(path[start:]))
        for place in [rest] if rest else [(name,) for name in owner.model_fields_set]:
            owner._filled[place] = owner._filled.get(place, ()) + values


def _step(container: Any, key: str | int) -> Any:
    if isinstance(container, BaseModel):
        return getattr(container, field_name(type(container), key), None)
    if isinstance(container, Mapping):
        return container.get(key)
    if isinstance(container, (list, tuple)) and isinstance(key, int) and key < len(container):
        return container[key]
    return None


def field_name(model: type[BaseModel], key: str | int) -> str:
    """The attribute of `model` that the file calls `key`: a field's name or alias, or `key` itself."""
    if key in model.model_fields:
        return str(key)
    return next((name for name, field in model.model_fields.items() if field.alias == key), str(key))


def _models(value: Any) -> Iterator[RedactingModel]:
    if isinstance(value, RedactingModel):
        yield value
    inner: Iterable[Any] = ()
    if isinstance(value, BaseModel):
        inner = (item for _, item in value)
    elif isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    for item in inner:
        yield from _models(item)


def _sensitive(headers: Any) -> list[str]:
    return [name for name in headers if is_sensitive_header(str(name))] if isinstance(headers, Mapping) else []


def _mask(value: Any, rest: list[str | int]) -> Any:
    if rest and isinstance(value, Mapping) and rest[0] in value:
        return {**value, rest[0]: _mask(value[rest[0]], rest[1:])}
    if rest and isinstance(value, (list, tuple)) and isinstance(rest[0], int) and rest[0] < len(value):
        return [_mask(item, rest[1:]) if i == rest[0] else item for i, item in enumerate(value)]
    return MASK


class Section(RedactingModel):
    """A part of a configuration: its keys go by their alias or their name."""

    model_config = ConfigDict(populate_by_name=True)
