"""Models of sections that few files have: their module is loaded only when there is a section to check."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, cast

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class LateModel:
    """Gives a field the schema of a model, in ``Annotated[Any, LateModel(...)]``; a type checker sees the model itself.

    Args:
        module: The module of the model, in this package.
        name: Its name.
        or_false: Whether the field may be false as well.
        bare: The setting that a bare word stands for. Default: a mapping is required.

    Defining a model takes 1 to 4 million instructions, and building it as many; importing the package takes 800
    million.
    """

    def __init__(self, module: str, name: str, *, or_false: bool = False, bare: str | None = None) -> None:
        self._or_false = or_false
        self._bare = bare
        self._module = f"lee_llm_router.{module}"
        self._name = name

    def model(self) -> type[BaseModel]:
        """Return the model itself."""
        return cast("type[BaseModel]", getattr(import_module(self._module), self._name))

    def _check(self, value: Any) -> BaseModel | Literal[False]:
        if self._or_false and value is False:
            return False
        if self._bare is not None and isinstance(value, str):
            value = {self._bare: value}
        return self.model().model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that checks a section with its model; errors are reported at the section's place."""
        return core_schema.no_info_plain_validator_function(
            self._check, serialization=core_schema.simple_ser_schema("any")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return a reference to the model's schema, as for any other model."""
        model = self.model()
        model.model_rebuild()
        whole: Any = model.__pydantic_core_schema__
        reference = core_schema.definition_reference_schema(whole["ref"])
        shown = handler(core_schema.definitions_schema(reference, [whole]))
        others: list[JsonSchemaValue] = [{"const": False}] if self._or_false else []
        if self._bare is not None:
            others.append({"type": "string"})
        return {"anyOf": [*others, shown]} if others else shown
