"""The options of the engine `dbos`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.settings import check_engine_options
from lee_llm_router.errors import ConfigError

DATABASE_VARIABLE = "LEE_LLM_ROUTER_DB"
"""Names the database if nothing else does: anybody on the machine can read the arguments of a command."""
AHEAD = 5_000
"""Default number of rows in the database at once: enough for a few hundred workers, and little to search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableSettings:
    """The settings in `engine_options`."""

    db: str
    """Address of the database: ``postgresql://user@host/name`` or ``sqlite:///rows.db``. Default: the environment
    variable `DATABASE_VARIABLE`."""
    worker: bool = True
    """Whether this process answers rows too."""
    ahead: int = AHEAD
    """Rows in the database at once, enqueued or answered but not collected."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the settings in `options`.

        Raises:
            ConfigError: one is unknown or wrong, or `db` is missing.
        """
        check_engine_options("dbos", options, [field.name for field in fields(cls)])
        database = options.get("db") or os.environ.get(DATABASE_VARIABLE)
        if not isinstance(database, str) or not database.strip():
            raise ConfigError(
                "the engine dbos needs a database: --db postgresql://user@host/name or sqlite:///rows.db, or"
                f" ${DATABASE_VARIABLE}",
                sent=False,
            )
        worker = options.get("worker", True)
        if not isinstance(worker, bool):
            raise ConfigError("worker of the engine dbos is true or false", sent=False)
        ahead = options.get("ahead", AHEAD)
        if isinstance(ahead, bool) or not isinstance(ahead, int) or ahead < 1:
            raise ConfigError("ahead of the engine dbos is a number of rows, at least 1", sent=False)
        return cls(db=database.strip(), worker=worker, ahead=ahead)
