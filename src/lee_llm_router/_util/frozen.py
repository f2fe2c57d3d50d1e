"""Makes and copies frozen dataclasses quickly, with generated code.

A frozen dataclass sets each field through `object.__setattr__`, which takes four times as long as an assignment. The
code generated here creates an instance of a subclass that is not frozen, assigns its fields, and then sets its class to
the frozen one.

Only this module generates code. Every call makes requests, answers, chunks and trace records. Users may pass these
dataclasses to `dataclasses.replace`, so neither plain classes nor another library's would work.

- Gain: 9 us per call; a call of the mock provider takes 13.8 us with it and 23.1 us without.
- Cost: this file. An object has another class while its fields are set. On free-threaded CPython the assignment of
  `__class__` may stop all threads for a moment.

Debuggers, tracebacks and `inspect.getsource` show the generated code: its lines are registered with `linecache`, as
attrs does.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from functools import cache
from itertools import count
from operator import attrgetter
from types import CodeType, FunctionType
from typing import Any, ParamSpec, TypeVar, cast

from lee_llm_router._util.deferred import DeferrableField

ClassT = TypeVar("ClassT", bound=type)
ParametersT = ParamSpec("ParametersT")
MadeT = TypeVar("MadeT")

_file_numbers = count(1)


def compiled_init(cls: type) -> Callable[..., None]:
    """Return the ``__init__`` of a dataclass; the fast version if the class is frozen and has slots."""
    is_frozen = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    parameters, values, names = _parameters_of(cls)
    names |= {"_own_class": cls, "_set": object.__setattr__, "_type": type}  # a field may be named `type`
    ending = ["self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    # With a slot for weak references, classes with the same slots have different layouts.
    if is_frozen and "__weakref__" not in cls.__dict__.get("__slots__", ("__weakref__",)):
        names |= {"_unfrozen_class": _unfrozen_class(cls), "_init_subclass": _init_subclass}
        body = [
            "if _type(self) is not _own_class:  # a subclass may have another layout",
            f"    return _init_subclass(self, {{{', '.join(f'{name!r}: {value}' for name, value in values.items())}}})",
            "_set(self, '__class__', _unfrozen_class)",
            *(f"self.{name} = {value}" for name, value in values.items()),
            "self.__class__ = _own_class",
        ]
    elif is_frozen:
        body = [f"_set(self, {name!r}, {value})" for name, value in values.items()]
    else:
        body = [f"self.{name} = {value}" for name, value in values.items()]
    init = _compile_method(
        cls, f"def __init__({', '.join(['self', *parameters])}):", [*body, *ending] or ["pass"], names
    )
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {**{f.name: f.type for f in fields(cls) if f.init}, "return": None}
    return init


def _init_subclass(self: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        object.__setattr__(self, name, value)
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def maker(cls: Callable[ParametersT, MadeT]) -> Callable[ParametersT, MadeT]:
    """Return a function equivalent to calling `cls`, a frozen, slotted dataclass; for objects that every call makes.

    Calling a class packs its arguments into a dict. Without that, an `LLMResponse` takes half the time. Pass fields by
    keyword. The function would also accept them by position, since keyword-only arguments make Python look up the
    default of each (a quarter of the time of an `LLMResponse`).
    """
    assert isinstance(cls, type)  # noqa: S101 - a `Callable` only so that the types of its parameters are kept
    named, values, defaults = _parameters_of(cls)
    parameters = sorted((one for one in named if one != "*"), key=lambda one: "=" in one)
    return _compile_function(
        cls,
        f"def make({', '.join(parameters)}):",
        [
            "new = _unfrozen_class()",
            *(f"new.{name} = {value}" for name, value in values.items()),
            "new.__class__ = _own_class",
            "return new",
        ],
        {"_own_class": cls, "_unfrozen_class": _unfrozen_class(cls), **defaults},
    )


def _parameters_of(cls: type) -> tuple[list[str], dict[str, str], dict[str, Any]]:
    """Return the parameters of a dataclass's ``__init__``, the value of each field, and the defaults by name."""
    parameters: list[str] = []
    values: dict[str, str] = {}
    names: dict[str, Any] = {}
    for f in sorted(fields(cls), key=attrgetter("kw_only")):
        has_factory = f.default_factory is not MISSING
        default = f"_default_{f.name}"
        if has_factory or f.default is not MISSING:
            names[default] = f.default_factory if has_factory else f.default
        if not f.init:
            if default in names:  # otherwise its `__post_init__` sets it
                values[f.name] = f"{default}()" if has_factory else default
            continue
        if f.kw_only and "*" not in parameters:
            parameters.append("*")
        parameters.append(f"{f.name}={default}" if default in names else f.name)
        values[f.name] = f"{default}() if {f.name} is {default} else {f.name}" if has_factory else f.name
    return parameters, values, names


def copier(cls: type, *changed: str) -> Callable[..., Any]:
    """Return a function that copies an instance of `cls`, a frozen, slotted dataclass, with new values for some fields.

    It does the same as `dataclasses.replace`, in a tenth of the time, and takes the fields `changed` as positional
    arguments. It shares a `Deferred` in a field without reading it.
    """
    stored = {f.name: value for f in fields(cls) if isinstance(value := cls.__dict__.get(f.name), DeferrableField)}
    values = {f.name: f"_stored_{f.name}(self)" if f.name in stored else f"self.{f.name}" for f in fields(cls)}
    values.update((name, name) for name in changed)
    return _compile_function(
        cls,
        f"def copy(self, {', '.join(changed)}):",
        [
            "if type(self) is not _own_class:  # a subclass may have more fields",
            f"    return _replace_fields(self, {', '.join(f'{name}={name}' for name in changed)})",
            "new = _unfrozen_class()",
            *(f"new.{f.name} = {values[f.name]}" for f in fields(cls)),
            "new.__class__ = _own_class",
            "return new",
        ],
        {
            "_own_class": cls,
            "_unfrozen_class": _unfrozen_class(cls),
            "_replace_fields": _replace_fields,
            **{f"_stored_{name}": field.stored for name, field in stored.items()},
        },
    )


def late_copier(cls: type, *changed: str) -> Callable[..., Any]:
    """Return the result of `copier`, compiled on its first call."""
    return _late(lambda: copier(cls, *changed))


def late_maker(cls: Callable[ParametersT, MadeT]) -> Callable[ParametersT, MadeT]:
    """Return the result of `maker`, compiled on its first call."""
    return cast("Callable[ParametersT, MadeT]", _late(lambda: maker(cls)))


def _late(compiled: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """Return the function that `compiled` makes, compiled on its first call.

    Until then a stand-in takes its place, and later adopts its code: so later calls take no longer, under whatever name
    the function was imported. Seven that most programs never call took 7 of the 900 million instructions of the
    package's import, and five that every call needs 9 of 848.
    """
    names: dict[str, Any] = {}

    def compile_now() -> Callable[..., Any]:
        made: Any = compiled()
        names.update(made.__globals__)
        stand_in.__defaults__ = made.__defaults__
        stand_in.__code__ = made.__code__  # last: another thread calls either function
        return made  # type: ignore[no-any-return]

    names["_compile_now"] = compile_now
    stand_in = FunctionType(_not_yet_compiled.__code__, names)
    return stand_in


def _not_yet_compiled(*places: Any, **named: Any) -> Any:
    return _compile_now()(*places, **named)  # type: ignore[name-defined]  # noqa: F821 - among the globals it is given


def _replace_fields(instance: Any, **changed: Any) -> Any:
    """Do the same as `dataclasses.replace`, also for fields with ``init=False``, which that refuses."""
    arguments = {f.name for f in fields(instance) if f.init}
    new = replace(instance, **{name: value for name, value in changed.items() if name in arguments})
    for name in changed.keys() - arguments:
        object.__setattr__(new, name, changed[name])
    return new


@cache
def _unfrozen_class(cls: type) -> type:
    """Return a subclass of `cls` without constructor arguments, for instances that become those of `cls`.

    Their fields can be assigned. As a subclass without its own slots it has the layout of `cls` by definition. For an
    unrelated class, Python would compare all slots by name at each assignment of `__class__`.
    """
    names: dict[str, Any] = {name: getattr(object, name) for name in ("__init__", "__setattr__", "__delattr__")}
    names["__slots__"] = ()
    for name in cls.__slots__:  # type: ignore[attr-defined]
        slot = cls.__dict__[name]  # past a `DeferrableField`, which may also wrap the slot later
        names[name] = slot.slot if isinstance(slot, DeferrableField) else slot
    return type(f"_{cls.__name__}", (cls,), names)


def _compile_function(cls: type, signature: str, body: list[str], names: dict[str, Any]) -> Callable[..., Any]:
    """Return the function with this signature and body.

    Args:
        cls: The function's class.
        signature: The line with ``def``.
        body: Its lines, not indented.
        names: Its globals.
    """
    name = signature.removeprefix("def ").partition("(")[0]
    code = _compiled(cls, name, [signature, *(f"    {line}" for line in body), ""])
    exec(code, names)  # noqa: S102 - of our own fields' names, as dataclasses do
    return names[name]  # type: ignore[no-any-return]


def _compile_method(cls: type, signature: str, body: list[str], names: dict[str, Any]) -> Callable[..., Any]:
    """As `_compile_function`, with the globals of the module of `cls`, so that annotations can be resolved.

    It uses its names through a closure.
    """
    name = signature.removeprefix("def ").partition("(")[0]
    lines = [f"def make({', '.join(names)}):", f"    {signature}", *(f"        {line}" for line in body)]
    code = _compiled(cls, name, [*lines, f"    return {name}", ""])
    made: dict[str, Any] = {}
    exec(code, sys.modules[cls.__module__].__dict__, made)  # noqa: S102 - of our own fields' names, as dataclasses do
    return made["make"](**names)  # type: ignore[no-any-return]


def _compiled(cls: type, name: str, lines: list[str]) -> CodeType:
    """Return the code of these lines, which define the function `name` of `cls`."""
    source = "\n".join(lines)
    filename = f"<lee_llm_router generated {cls.__module__}.{cls.__qualname__}.{name} {next(_file_numbers)}>"
    # With None as the modification time, `linecache.checkcache` keeps the entry although there is no such file.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return compile(source, filename, "exec")
