"""Handles calls that name no role of the configuration: the default role and a warning, or an error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any

from lee_llm_router._util.scrubbing import quoted
from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.errors import InvalidRequestError

_MAX_WARNED = 1000
"""The most names that are warned about, since callers may pass any."""

_MAX_NAME = 128
"""The most characters of a name that are shown; a role's name is never longer."""

_PACKAGE = __name__.partition(".")[0]


class AskedRoles:
    """Finds the role that serves the name a caller passes.

    Args:
        config: The configuration.
        secrets: Texts that no shown name may contain: a caller may pass a key instead of a role.
    """

    def __init__(self, config: LLMConfig, secrets: Iterable[str] = ()) -> None:
        self._roles = config.roles
        self._secrets = tuple(secrets)
        self._default = config.default_role or next(iter(config.roles))
        self._refuses = config.unknown_role == "error"
        self._warned: set[str] = set()

    def served(self, role: Any) -> str:
        """Return the role that serves `role`: itself if it exists, else the default role."""
        # Return plain text even for a member of an enumeration.
        return str.__str__(role) if isinstance(role, str) and role in self._roles else self._default

    def unknown(self, role: Any) -> str | None:
        """Return `role` as records show it if it is text but not a role; otherwise None."""
        return quoted(role, self._secrets, _MAX_NAME) if isinstance(role, str) and role not in self._roles else None

    def check(self, role: Any, *, warn: bool = True) -> None:
        """Warn once if the role `role` does not exist.

        Args:
            role: The name that a caller passes.
            warn: False: only check whether it may be called.

        Raises:
            InvalidRequestError: it is not text; or there is no such role, and the configuration or the application's
                warning filter makes that an error.
        """
        if role is not None and not isinstance(role, str):
            raise InvalidRequestError(f"the name of a role must be text, not {type(role).__name__}", sent=False)
        shown = self.unknown(role)
        if shown is None:
            return
        hint = Suggester().did_you_mean(role, self._roles)
        if self._refuses:
            raise InvalidRequestError(f"no such role {shown!r}{hint}", sent=False)
        if warn and shown not in self._warned and len(self._warned) < _MAX_WARNED:
            self._warned.add(shown)
            message = f"no such role {shown!r}{hint}: the default role {self._default!r} answers"
            try:
                warnings.warn(message, UserWarning, stacklevel=_callers_level())
            except UserWarning:
                self._warned.discard(shown)  # it is an error again next time
                raise InvalidRequestError(f"no such role {shown!r}{hint}", sent=False) from None


def _callers_level() -> int:
    """Return the `stacklevel` with which a warning of `AskedRoles.check` points at the application."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    return level
