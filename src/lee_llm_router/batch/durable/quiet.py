"""Keeps DBOS quiet: what it logs has no rows in it, and nothing is sent or shown elsewhere."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger("dbos")
_STATEMENT = "\n[SQL"
"""Where SQLAlchemy begins to show a statement and its values in the text of an error."""


_EXPECTED = (
    "is no longer owned by this execution",
    "Exception encountered in asynchronous",
    "Asyncio task cancelled",
    "Could not connect to postgres database",
)
"""Parts of messages about rows that went to another worker, which are counted on and would come by the hundred; and of
one before an error that says the same."""


class _NoStatements(logging.Filter):
    """Cuts a statement and its values, which may be prompts, off what is logged; drops what is no news."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change `record`, and say whether it passes."""
        text = record.getMessage().partition(_STATEMENT)[0]
        if any(part in text for part in _EXPECTED):
            return False
        record.msg, record.args = text, ()
        record.exc_info = record.exc_text = None
        return True


_NO_STATEMENTS = _NoStatements()


def quiet_logs() -> None:
    """Have DBOS log warnings and errors alone, through whatever the application has set up, without rows in them."""
    if not _LOGGER.handlers:
        # DBOS writes to standard error itself where its logger has no handler.
        _LOGGER.addHandler(logging.NullHandler())
    _LOGGER.addFilter(_NO_STATEMENTS)
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.WARNING)
