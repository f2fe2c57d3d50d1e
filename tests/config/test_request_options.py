"""One list of request options: what the file, a caller and a provider's request know of."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from lee_llm_router.config.models import CallSettings
from lee_llm_router.response import LLMRequest
from lee_llm_router.routing.options import CallOptions

OPTIONS = sorted(info.alias or name for name, info in CallSettings.model_fields.items())
"""The options, by the names that people write. `CallSettings` declares them."""

NOT_IN_REQUESTS = {
    "timeout": "how long an attempt may take is told to a provider beside the request",
}
OF_A_CALL_ONLY = {
    "model": "a target of the file has one of its own",
    "tools": "functions of the program that calls",
    "tool_choice": "speaks of tools",
    "deadline": "of a role as a whole, so the file has it in RoleConfig",
    "metadata": "of a role as a whole, so the file has it in RoleConfig",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_the_file_is_one_of_a_call_and_of_a_request(option: str) -> None:
    """An option declared in `CallSettings` can be set for a call as well, and reaches the provider."""
    assert option in get_type_hints(CallOptions)
    assert (option in {field.name for field in fields(LLMRequest)}) is (option not in NOT_IN_REQUESTS)


def test_options_that_only_a_call_has_are_these() -> None:
    """A further option of `CallOptions` is declared in `CallSettings`, or stands here with the reason."""
    assert set(get_type_hints(CallOptions)) - set(OPTIONS) == set(OF_A_CALL_ONLY)
