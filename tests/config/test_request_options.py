"""One list of request options: the file, a call and a provider's request have the same."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from lee_llm_router.config.models import CallSettings
from lee_llm_router.response import LLMRequest
from lee_llm_router.routing.options import CallOptions

OPTIONS = sorted(info.alias or name for name, info in CallSettings.model_fields.items())
"""The options that `CallSettings` declares, by the names that people write."""

NOT_IN_REQUESTS = {
    "timeout": "a provider gets the seconds an attempt may take as an argument beside the request",
}
OF_A_CALL_ONLY = {
    "model": "RoleConfig and FallbackConfig declare it for the file",
    "tools": "tools are functions of the calling program",
    "tool_choice": "goes with tools",
    "accept": "RoleConfig declares it for the file: it holds for a role as a whole",
    "no_cache": "is about one call: RoleConfig declares the cache itself",
    "contract": "RoleConfig declares it for the file: it holds for a role as a whole",
    "deadline": "RoleConfig declares it for the file: it holds for a role as a whole",
    "hedge": "RoleConfig declares it for the file: it holds for a role as a whole",
    "metadata": "RoleConfig declares it for the file: it holds for a role as a whole",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_the_file_is_one_of_a_call_and_of_a_request(option: str) -> None:
    """An option declared in `CallSettings` can be set for a call as well, and reaches the provider."""
    assert option in get_type_hints(CallOptions)
    assert (option in {field.name for field in fields(LLMRequest)}) is (option not in NOT_IN_REQUESTS)


def test_options_that_only_a_call_has_are_these() -> None:
    """A further option of `CallOptions` is declared in `CallSettings`, or stands here with the reason."""
    assert set(get_type_hints(CallOptions)) - set(OPTIONS) == set(OF_A_CALL_ONLY)
