"""The settings of one provider, checked with the model of its type."""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, SerializeAsAny

from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.settings.plugins import check_plugin


def validate_provider(value: Any) -> Any:
    """Check the settings of one provider with the model of its `type`; see `check_plugin`.

    Raises:
        pydantic.ValidationError: the type is unknown, or the settings do not fit it.
    """
    return check_plugin(PROVIDERS, value, ProviderConfig)


AnyProvider: TypeAlias = Annotated[SerializeAsAny[ProviderConfig], BeforeValidator(validate_provider)]
"""A provider's settings, as the model of its type."""
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
"""The name of a provider or a role."""
