"""What settings models tell pydantic of themselves: always the same, and in a form that any version of it takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import Field, create_model, model_validator
from pydantic_core import core_schema

from lee_llm_router.settings.model import Section


class Plain(Section):
    headers: dict[str, str] = Field(default_factory=dict)


class Checked(Section):
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_fine(self) -> Checked:
        return self


@pytest.mark.parametrize("model", [Plain, Checked])
def test_a_model_stays_as_it_is_however_many_models_have_it_in_a_field(model: type[Section]) -> None:
    shown = model(headers={"Authorization": "a-key"})  # type: ignore[call-arg]
    before = repr(model.__pydantic_core_schema__)
    for _ in range(3):
        holder = create_model("Holder", __base__=Section, inner=(model, ...))
        dumped = holder.model_validate({"inner": {"headers": {"Authorization": "a-key"}}}).model_dump(mode="json")
        assert dumped == {"inner": {"headers": {"Authorization": "***"}}}
    assert repr(model.__pydantic_core_schema__) == before
    assert "a-key" not in repr(shown)


def test_the_mapping_that_pydantic_has_made_of_a_model_is_the_one_that_checks_it() -> None:
    """Before 2.11, pydantic finds the model by that mapping, and by its reference."""
    made: Any = core_schema.model_schema(Plain, core_schema.model_fields_schema({}), ref="Plain:1")
    assert Plain.__get_pydantic_core_schema__(Plain, lambda _: made) is made  # type: ignore[arg-type]
    assert (made["type"], made["ref"], "ref" in made["schema"]) == ("function-wrap", "Plain:1", False)


_ACCEPT = """
from pydantic import TypeAdapter
from lee_llm_router.engine.settings import AcceptConfig, AnyAccept
TypeAdapter(AnyAccept).validate_python({"min_chars": 1})
assert AcceptConfig.__pydantic_complete__
"""


def test_rules_for_answers_can_be_shown_where_nothing_else_has_built_their_model() -> None:
    """Before 2.14, pydantic does not build it for that, and no file with such rules could be read."""
    subprocess.run([sys.executable, "-c", _ACCEPT], check=True)
