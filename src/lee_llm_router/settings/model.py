"""Settings models that mask values of environment variables and of sensitive headers in all output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import CoreSchema, core_schema

from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.masked_text import LEAF_TYPES, MaskedText, masked_paths
from lee_llm_router._util.scrubbing import MASK, is_sensitive_header, is_sensitive_parameter
from lee_llm_router.settings.origin import NO_ORIGIN, ConfigOrigin

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes that lead to a value, outermost first."""

_building = ForkLock(reentrant=True)


def _keep_masks(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Keep the masks of `value`, which may be a dump of another model, in the new model."""
    made = check(value)
    if isinstance(value, Mapping) and (filled := {path: text.used for path, text in masked_paths(value)}):
        note_filled(made, filled)
    return made


def _json_masked(model: RedactingModel, dumped: SerializerFunctionWrapHandler) -> Any:
    return model._masked(dumped(model))


class RedactingModel(BaseModel):
    """A frozen model that refuses unknown keys and shows ``***`` for values that came from the environment.

    `repr`, `str` and JSON dumps (``model_dump_json``, ``model_dump(mode="json")``) are masked. Attributes and Python
    dumps hold the values, as text whose own `repr` is masked. Sensitive headers are always masked.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True,
        protected_namespaces=("model_validate", "model_dump"),  # as from pydantic 2.10; 2.9 warns about `model_limits`
    )  # fmt: skip

    if TYPE_CHECKING:
        _filled: dict[KeyPath, tuple[str, ...]]
        """Paths inside this model whose values came from ``${...}``, with the values of the variables used there."""
    else:
        _filled = PrivateAttr(default_factory=dict)  # an annotation would be evaluated again for each model

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that checks a model and masks its JSON dump.

        It is written out because pydantic binds each decorated function again for every inheriting model, through all
        bases between: 6 of the 829 million instructions of the package's import.
        """
        outermost: Any = handler(source)
        model = outermost
        while model["type"] != "model":  # the model's own validators wrap it
            if model.get("function", {}).get("function") is _keep_masks:
                return outermost  # type: ignore[no-any-return] # built earlier, for a model with a field of this type
            model = model["schema"]
        masked = core_schema.wrap_serializer_function_ser_schema(_json_masked, when_used="json")
        inner: Any = {**model, "serialization": masked}
        reference = inner.pop("ref", None)
        # Change it in place: before 2.11, pydantic identifies the model by this mapping.
        model.clear()
        model |= core_schema.no_info_wrap_validator_function(_keep_masks, inner, ref=reference)
        return outermost  # type: ignore[no-any-return]

    @classmethod
    def model_rebuild(
        cls,
        *,
        force: bool = False,
        raise_errors: bool = True,
        _parent_namespace_depth: int = 2,
        _types_namespace: Any = None,
    ) -> bool | None:
        """Build the validator in one thread at a time, as pydantic does when a model is first used."""
        # Before pydantic 2.14, building a deferred model is not thread-safe.
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

    def _masked(self, shown: dict[Any, Any]) -> dict[Any, Any]:
        """Return `shown`, a mapping by field name or alias, with its secrets masked."""
        places: _Places = {}
        paths = (
            *self._filled,
            *(("headers", name) for name in _sensitive(shown.get("headers"), is_sensitive_header)),
            *(("query", name) for name in _sensitive(shown.get("query"), is_sensitive_parameter)),
        )
        for head, *rest in paths:
            place = places.setdefault(head if head in shown else type(self)._alias(head), {})
            for key in rest:
                place = place.setdefault(key, {})
            place[_HERE] = {}
        return {key: _mask(value, places[key]) if key in places else value for key, value in shown.items()}

    @classmethod
    def _alias(cls, name: str | int) -> str | int:
        field = cls.model_fields.get(str(name))
        return name if field is None or field.alias is None else field.alias

    def changed(self, overrides: Mapping[str, Any]) -> Self:
        """Return a validated copy with the fields in `overrides` replaced; the other fields stay masked.

        Raises:
            pydantic.ValidationError: a name is unknown, or a value does not fit.
        """
        other = type(self).model_validate({**dict(self), **overrides})
        other._filled.update({path: used for path, used in self._filled.items() if path[0] not in overrides})
        if isinstance(self, OriginModel) and isinstance(other, OriginModel):
            other._origin = self._origin
        return other

    def filled_values(self) -> tuple[str, ...]:
        """Return the values of environment variables used in this model and the models inside it, without duplicates.

        Names of providers and models are left out: traces show them anyway.
        """
        found = {
            value: None
            for model in _models(self)
            for path, values in model._filled.items()
            if path not in (("model",), ("provider",))
            for value in values
        }
        return tuple(found)


class OriginModel(RedactingModel):
    """A model that remembers where it came from, because it reads paths or variables later."""

    if TYPE_CHECKING:
        _origin: ConfigOrigin
    else:
        _origin = PrivateAttr(default_factory=lambda: NO_ORIGIN)

    @property
    def origin(self) -> ConfigOrigin:
        """The origin of the configuration that this model is part of."""
        return self._origin


def note_origin(model: RedactingModel, origin: ConfigOrigin) -> None:
    """Record the origin of `model` in it and in the models inside it."""
    for one in _models(model):
        if isinstance(one, OriginModel):
            one._origin = origin


def note_filled(model: RedactingModel, filled: Mapping[KeyPath, tuple[str, ...]]) -> None:
    """Record which values of `model` and the models inside it came from the environment.

    Each path is recorded in the innermost model on it. If a path ends early because a value was converted to
    something else, everything below that point counts as filled.
    """
    marked: dict[int, tuple[RedactingModel, dict[KeyPath, tuple[str, ...]]]] = {}
    for path, values in filled.items():
        owner, start, current = model, 0, model
        for depth, key in enumerate(path):
            current = _step(current, key)
            if isinstance(current, RedactingModel):
                owner, start = current, depth + 1
        rest = tuple(key if i else field_name(type(owner), key) for i, key in enumerate(path[start:]))
        for place in [rest] if rest else [(name,) for name in owner.model_fields_set]:
            owner._filled[place] = tuple(dict.fromkeys(owner._filled.get(place, ()) + values))
            marked.setdefault(id(owner), (owner, {}))[1][place] = owner._filled[place]
    for owner, places in marked.values():
        for name, inner in _grouped((place, used) for place, used in places.items() if place not in _NAMES).items():
            owner.__dict__[str(name)] = _with_masks(owner.__dict__.get(str(name)), inner)


_NAMES = frozenset({("model",), ("provider",), ("default_role",), ("type",)})
"""Places that hold names, which traces show anyway."""

_Used: TypeAlias = tuple[KeyPath, tuple[str, ...]]


def _grouped(places: Iterable[_Used]) -> dict[str | int, list[_Used]]:
    """Return `places` grouped by their first key, with that key removed."""
    groups: dict[str | int, list[_Used]] = {}
    for (key, *rest), used in places:
        groups.setdefault(key, []).append((tuple(rest), used))
    return groups


def _with_masks(value: Any, places: list[_Used]) -> Any:
    """Return `value` with self-masking texts at `places`; lists and mappings are changed in place."""
    if isinstance(value, str):
        return MaskedText(value, tuple(dict.fromkeys(one for _, used in places for one in used)))
    if isinstance(value, (list, tuple)):
        items = list(value)
        for key, rest in _grouped(place for place in places if place[0]).items():
            if isinstance(key, int) and key < len(items):
                items[key] = _with_masks(items[key], rest)
        if isinstance(value, list):
            value[:] = items
        return tuple(items) if isinstance(value, tuple) else value
    if isinstance(value, dict):
        for key, rest in _grouped(place for place in places if place[0]).items():
            if key in value:
                value[key] = _with_masks(value[key], rest)
    return value


def _step(container: Any, key: str | int) -> Any:
    if isinstance(container, BaseModel):
        return getattr(container, field_name(type(container), key), None)
    if isinstance(container, Mapping):
        return container.get(key)
    if isinstance(container, (list, tuple)) and isinstance(key, int) and key < len(container):
        return container[key]
    return None


def field_name(model: type[BaseModel], key: str | int) -> str:
    """Return the field of `model` whose name or alias is `key`; `key` itself if there is none."""
    if key in model.model_fields:
        return str(key)
    return next((name for name, field in model.model_fields.items() if field.alias == key), str(key))


def _models(value: Any) -> Iterator[RedactingModel]:
    inner: Iterable[Any] = ()
    if isinstance(value, BaseModel):
        if isinstance(value, RedactingModel):
            yield value
        inner = (*vars(value).values(), *(value.__pydantic_extra__ or {}).values())
    elif isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    for item in inner:
        if type(item) not in LEAF_TYPES:
            yield from _models(item)


def _sensitive(fields: Any, is_sensitive: Callable[[str], bool]) -> list[str]:
    return [name for name in fields if is_sensitive(str(name))] if isinstance(fields, Mapping) else []


_Places: TypeAlias = "dict[str | int | None, _Places]"
"""Paths as a tree: each key maps to the keys that may follow it. A path ends at `_HERE`."""
_HERE = None


def _mask(value: Any, places: _Places) -> Any:
    """Return `value` with the values at `places` masked; mask all of it if one of the places is missing."""
    if _HERE in places:
        return MASK
    if isinstance(value, Mapping) and places.keys() <= value.keys():
        return {key: _mask(item, places[key]) if key in places else item for key, item in value.items()}
    if isinstance(value, (list, tuple)) and all(isinstance(key, int) and key < len(value) for key in places):
        return [_mask(item, places[index]) if index in places else item for index, item in enumerate(value)]
    return MASK


class Section(RedactingModel):
    """A section of a configuration. Its keys may be written by alias or by name."""

    model_config = ConfigDict(populate_by_name=True)


class OriginSection(Section, OriginModel):
    """A section that remembers where it came from."""
