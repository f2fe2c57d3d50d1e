"""Opens the cassette of a router."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.cassette.provider import CassetteProvider
from lee_llm_router.providers.cassette.settings import AnyCassette, CassetteConfig
from lee_llm_router.providers.cassette.tape import Tape

_CHECKED: TypeAdapter[CassetteConfig] = TypeAdapter(AnyCassette)
Wrap = Callable[[Provider[Any]], Provider[Any]]


def open_cassette(cassette: CassetteConfig | Mapping[str, Any] | str | PathLike[str] | None) -> Tape:
    """Return the tape of `cassette`.

    Raises:
        ConfigError: the cassette cannot be used.
    """
    try:
        settings = _CHECKED.validate_python(cassette)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        what = "; ".join(f"{'.'.join(map(str, ('cassette', *one['loc'])))}: {one['msg']}" for one in problems)
        raise ConfigError(what, sent=False) from None
    try:
        return Tape(settings.file, settings.mode, with_raw=settings.raw)
    except NoHomeError as error:
        raise ConfigError(f"cassette.path: {error.strerror}", sent=False) from None


def around(tape: Tape, wrap: Wrap | None) -> Wrap:
    """Return a function that wraps a provider with `tape`, and both with `wrap`."""

    def wrapped(provider: Provider[Any]) -> Provider[Any]:
        recorded = CassetteProvider(provider, tape)
        return recorded if wrap is None else wrap(recorded)

    return wrapped
