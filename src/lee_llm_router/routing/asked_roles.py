"""What a call gets that names no role of the configuration: the default role and a warning, or an error."""

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
"""Names that are warned of, since callers may pass any."""

_MAX_NAME = 128
"""Characters kept of a name; a role's has no more."""

_PACKAGE = __name__.partition(".")[0]


class AskedRoles:
    """Finds out which role serves what callers name.

    Args:
        config: The configuration.
        secrets: What no name that is shown may hold: a caller may take a key for a role.
    """

    def __init__(self, config: LLMConfig, secrets: Iterable[str] = ()) -> None:
        self._roles = config.roles
        self._secrets = tuple(secrets)
        self._default = config.default_role or next(iter(config.roles))
        self._refuses = config.unknown_role == "error"
        self._warned: set[str] = set()

    def served(self, role: Any) -> str:
        """Return the role that serves `role`: itself if there is such a role, else the default one."""
        # A plain text also where a member of an enumeration was given.
        return str.__str__(role) if isinstance(role, str) and role in self._roles else self._default

    def unknown(self, role: Any) -> str | None:
        """Return `role` as records show it if it is a text and no role; None otherwise."""
        return quoted(role, self._secrets, _MAX_NAME) if isinstance(role, str) and role not in self._roles else None

    def check(self, role: Any, *, warn: bool = True) -> None:
        """Warn of `role` once if there is no such role.

        Args:
            role: What a caller names.
            warn: False: only find out whether it can be asked.

        Raises:
            InvalidRequestError: it is no text; or there is no such role, and the configuration or the application's
                filter of warnings wants an error.
        """
        if role is not None and not isinstance(role, str):
            raise InvalidRequestError(f"a role is named by text, not by {type(role).__name__}", sent=False)
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
                self._warned.discard(shown)  # it is an error the next time too
                raise InvalidRequestError(f"no such role {shown!r}{hint}", sent=False) from None


def _callers_level() -> int:
    """Return the `stacklevel` at which a warning of `AskedRoles.check` points at the application."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    return level
