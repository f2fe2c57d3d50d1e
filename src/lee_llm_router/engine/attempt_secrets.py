"""Finds the keys that an attempt used, which must appear in nothing that is kept of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from lee_llm_router._util.scrubbing import secrets_in
from lee_llm_router.engine.plan import Attempt
from lee_llm_router.providers.base import Provider

_MAX_SECRETS = 1000


def secrets_of(attempt: Attempt, secrets: Iterable[str]) -> tuple[str, ...]:
    """Return `secrets`, the keys of the attempt's provider, and the keys that only its request carries."""
    return (*secrets, *_keys_of(attempt.provider), *keys_in(attempt.request))


def _keys_of(provider: Provider[Any]) -> Iterable[str]:
    try:
        return tuple(secret for secret in islice(provider.secrets(), _MAX_SECRETS) if isinstance(secret, str))
    except Exception:  # noqa: BLE001 - a broken provider must neither hide the failure nor cost the record
        return ()


def keys_in(request: Any) -> Iterable[str]:
    """Return the values in the request's headers and body that are named or shaped like keys."""
    try:
        # The request of another operation may be of any type.
        return tuple(secrets_in([getattr(request, name, None) for name in ("headers", "extra_body", "extra_query")]))
    except Exception:  # noqa: BLE001 - it is third-party code
        return ()
