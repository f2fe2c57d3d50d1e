"""A subject: a way to make the one call that all are measured by."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from speed.wire import KEY, KEY_NAME

ASYNC = ("async-1", "async-64", "async-1000")


@dataclass(slots=True)
class Made:
    """A subject that is ready: what it can do, each giving back the text of the answer or the number of pieces."""

    ask: Callable[[], Awaitable[str]] | None = None
    ask_sync: Callable[[], str] | None = None
    stream: Callable[[], Awaitable[int]] | None = None
    expected: str | None = None
    """The text of a right answer; None: that of the server."""
    closing: ExitStack = field(default_factory=ExitStack)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subject is built for."""

    url: str
    """Of the server."""
    case: str
    options: tuple[str, ...]

    def number(self, name: str) -> int | None:
        """The number in the option ``name=number``; None if it is not among the options."""
        found = (option.removeprefix(f"{name}=") for option in self.options if option.startswith(f"{name}="))
        return next(map(int, found), None)


@dataclass(frozen=True, slots=True)
class Subject:
    """How a subject is called, shown, and built."""

    name: str
    title: str
    maker: str
    """``module:function``; the function takes a `Wanted` and gives back a `Made`."""
    needs: tuple[str, ...] = ()
    """Modules without which it cannot be measured."""
    distributions: tuple[str, ...] = ()
    """Whose versions are printed."""
    cases: tuple[str, ...] = ASYNC
    options: tuple[str, ...] = ()
    slow: bool = False
    """Measured in fewer rounds where there are many calls at once."""

    @property
    def installed(self) -> bool:
        """Whether it can be measured here."""
        return all(find_spec(name) is not None for name in self.needs)

    def make(self, url: str, case: str) -> Made:
        """Build it, inside a running event loop if `case` is asynchronous."""
        os.environ[KEY_NAME] = os.environ["OPENAI_API_KEY"] = KEY
        module, _, function = self.maker.partition(":")
        maker = cast("Callable[[Wanted], Made]", getattr(import_module(module), function))
        return maker(Wanted(url, case, self.options))
