"""Keeps DBOS quiet: its logs contain no rows, and nothing is sent or shown elsewhere."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger("dbos")
_STATEMENT = "\n[SQL"
"""The prefix of a statement and its values in the text of a SQLAlchemy error."""


_EXPECTED = (
    "is no longer owned by this execution",
    "Exception encountered in asynchronous",
    "Asyncio task cancelled",
    "Could not connect to postgres database",
)
"""Parts of messages about rows that went to another worker, which are expected and would come by the hundred; and of
one that precedes an error with the same content."""


class _NoStatements(logging.Filter):
    """Cuts a statement and its values, which may be prompts, from log records; drops expected messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change `record`, and return whether to log it."""
        text = record.getMessage().partition(_STATEMENT)[0]
        if any(part in text for part in _EXPECTED):
            return False
        record.msg, record.args = text, ()
        record.exc_info = record.exc_text = None
        return True


_NO_STATEMENTS = _NoStatements()


def quiet_logs() -> None:
    """Make DBOS log only warnings and errors, through the application's own handlers, without rows in them."""
    if not _LOGGER.handlers:
        # DBOS writes to standard error if its logger has no handler.
        _LOGGER.addHandler(logging.NullHandler())
    _LOGGER.addFilter(_NO_STATEMENTS)
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.WARNING)
