"""The keys of cached answers: a digest of everything that a target is asked, and of nothing else.

How this works
--------------
Two requests are equal if they go to the same kind of provider at the same address, with the same settings that reach
the vendor, the same model, the same options and the same messages. Names of providers and roles, ids, metadata,
timeouts, limits, budgets and API keys do not matter. A key does not reveal its contents.

The part common to all calls of a target is hashed once; each call adds its messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

from lee_llm_router._util.scrubbing import MASK, is_sensitive_parameter, masked_headers
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.cache.forms import AnswerForm
from lee_llm_router.providers.json_schema import json_schema_of

_SIZE = 20
"""Size of a key in bytes. Two of 2**80 keys are equal by chance."""
_VERSION = 1
"""Version of what a key is made of: it is changed with that."""
_UNSENT = {
    *("api_key_env", "other_api_key_envs", "api_key_file", "key_header", "key_as", "paid_ok"),
    *("budget", "max_concurrency", "rpm", "tpm", "model_limits"),
    *("max_output_bytes", "max_response_bytes", "embedding_batch"),
    *("ca_file", "trust", "transport", "term_grace", "model"),
}
"""Settings of providers that do not affect an answer."""
_UNSENT_OPTIONS = frozenset({"timeout", "drop_unsupported"})


class _UnkeyableError(Exception):
    """Something in a request has no JSON form."""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, PurePath):
        return str(value)
    raise _UnkeyableError


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain).encode


class RequestPrefix:
    """The hash of a request without its question.

    Args:
        form: How to store this kind of call.
        provider: The settings of the provider.
        model: The model to ask.
        options: The other options, under the names of `LLMRequest`.
        extra: What else makes a difference, such as the name of a hook that changes the messages.

    Raises:
        ValueError: something in it has no JSON form, so equality is undefined.
    """

    __slots__ = ("_hash",)

    def __init__(
        self, form: AnswerForm, provider: ProviderConfig, model: str | None, options: Mapping[str, Any], extra: str = ""
    ) -> None:
        # As Python values: a dump for JSON masks values from the environment, such as an address.
        settings = provider.model_dump(exclude=_UNSENT)
        asked = {name: value for name, value in options.items() if name not in _UNSENT_OPTIONS}
        if asked.get("schema") is not None:
            asked["schema"] = json_schema_of(asked["schema"])
        for part in (settings, asked):
            _mask_keys(part)
        whole = [_VERSION, form.name, settings, model, asked, extra]
        self._hash = blake2b(_encoded(whole), digest_size=_SIZE)

    def key(self, question: Any) -> bytes:
        """Return the key of a request with the JSON-compatible data `question`.

        Raises:
            ValueError: it has no JSON form.
        """
        whole = self._hash.copy()
        whole.update(_encoded(question))
        return whole.digest()


def _encoded(value: Any) -> bytes:
    try:
        return _canonical(value).encode()
    except (_UnkeyableError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a request cannot be distinguished from others: {type(error).__name__}") from None


def _mask_keys(part: dict[str, Any]) -> None:
    """Remove keys from headers and query parameters: a new key asks the same."""
    if part.get("headers"):
        part["headers"] = masked_headers(part["headers"])
    for name in ("query", "extra_query"):
        if isinstance(query := part.get(name), Mapping):
            part[name] = {key: MASK if is_sensitive_parameter(str(key)) else value for key, value in query.items()}
