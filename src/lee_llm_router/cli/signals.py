"""Ends the command line on a signal like on Ctrl-C: running work is cancelled and cleaned up, then the process ends.

By default, SIGTERM (a service manager, a time limit) and SIGHUP (a closed terminal) end Python at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EndedBySignalError(BaseException):
    """A signal has told the program to end. Like KeyboardInterrupt it is not an Exception, so that nothing handles
    it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    def end_process(self) -> NoReturn:
        """End the process with the same signal, so that its sender sees that it was obeyed."""
        signal.signal(self.number, signal.SIG_DFL)
        os.kill(os.getpid(), self.number)
        # The signal is blocked: use the exit code that a shell would show.
        os._exit(128 + self.number)


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """Raise `EndedBySignalError` when a signal arrives, once. Ignored signals stay ignored (nohup)."""
    # Only the main thread can set handlers.
    is_main = threading.current_thread() is threading.main_thread()
    taken = [number for number in _SIGNALS if is_main and signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _: FrameType | None) -> None:
        # A second signal must not interrupt the cleanup.
        for one in taken:
            signal.signal(one, signal.SIG_IGN)
        raise EndedBySignalError(number)

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is end:
                signal.signal(number, signal.SIG_DFL)
