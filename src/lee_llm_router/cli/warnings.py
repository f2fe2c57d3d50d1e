"""The package's warnings on standard error, in the style of the command line."""

from __future__ import annotations

import logging

from lee_llm_router.cli.output import say


class _SaidMessage(logging.Handler):
    """Formats a warning's message like the command line's own."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler: a warning must not break what it warns of
            self.handleError(record)


def show_warnings() -> None:
    """Send warnings, but no events of attempts, to standard error."""
    handler = _SaidMessage()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda record: not hasattr(record, "llm_event"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
