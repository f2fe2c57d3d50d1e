"""The package's warnings on standard error, as the command line shows them."""

from __future__ import annotations

import logging

from lee_llm_router.cli.output import escaped


class _EscapedMessage(logging.Formatter):
    """The message of a warning, with what a terminal may obey escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


def show_warnings() -> None:
    """Send warnings, but no events of attempts, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_EscapedMessage("%(message)s"))
    handler.addFilter(lambda record: not hasattr(record, "llm_event"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
