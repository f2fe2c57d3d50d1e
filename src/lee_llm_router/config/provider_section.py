"""The settings of one provider, checked by the model of its type."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from lee_llm_router.config.mistakes import Mistake, validation_error
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import ProviderConfig


def validate_provider(value: Any) -> Any:
    """Check the settings of one provider by the model of its `type`, and fill in the defaults of an alias.

    The result carries the real type where an alias was written. A value that is neither a mapping nor a
    `ProviderConfig` is returned as it is, for pydantic to refuse.

    Raises:
        pydantic.ValidationError: the type is unknown, or the settings do not fit it.
    """
    if not isinstance(value, Mapping):
        return value
    name = value.get("type")
    if not isinstance(name, str):
        return ProviderConfig.model_validate({"type": name} if "type" in value else {})
    type_name, defaults = registry.resolve(name)
    try:
        model = registry.get(type_name).config_model
    except ConfigError as error:
        known = registry.available()
        if name in known:
            mistake = Mistake(("type",), error.message)  # installed, but it cannot be loaded
        else:
            mistake = Mistake(("type",), "unknown provider type", word=name, known=known)
        raise validation_error("unknown_type", [mistake]) from error
    try:
        return model.model_validate({**defaults, **value, "type": type_name})
    except ValidationError:
        raise
    except Exception as error:
        message = f"checking these settings raised {type(error).__name__}"
        raise validation_error("broken_settings", [Mistake((), message)]) from error


AnyProvider: TypeAlias = Annotated[SerializeAsAny[ProviderConfig], BeforeValidator(validate_provider)]
"""A provider's settings, as the model of its type."""
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
"""The name of a provider or a role."""
