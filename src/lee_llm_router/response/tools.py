"""Plain functions as tools: their schema, the check of a call's arguments, and running the calls of an answer.

How this works. `tool_of` turns a function into a `FunctionTool`: a mapping in the OpenAI shape, which every provider
takes, that still knows its function. The schema comes from the function's type hints, through a pydantic model of its
parameters. The descriptions come from the docstring (in Google's, NumPy's or Sphinx's form). The same model checks the
arguments that an LLM writes, and converts them to the types of the hints.

`run_tools` runs the calls of an answer and returns the messages that go back. If a call goes wrong (an unknown name,
arguments that do not fit, an exception), its message tells the LLM so. Nothing here decides whether to go on: the
application owns the loop.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial, partialmethod
from typing import TYPE_CHECKING, Any, TypeAlias, get_type_hints
from weakref import WeakKeyDictionary

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.docstrings import described_parameters
from lee_llm_router._util.lenient_json import whole_text
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router._util.trampoline import run_steps, run_steps_async
from lee_llm_router.errors import InvalidRequestError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

    from lee_llm_router.response.types import ToolCall

ToolFunction: TypeAlias = Callable[..., Any]
Functions: TypeAlias = "Iterable[ToolFunction] | Mapping[str, ToolFunction]"
"""Functions that answer tool calls: under their tool names, or under names the application chooses."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
"""A name that all vendors accept."""
_MAX_ERROR = 2000
"""The most characters of an error that the model sees."""
_MAX_MISTAKES = 1000
"""The most wrong values that are named one by one: pydantic takes 9 s to name a million."""


class FunctionTool(dict[str, Any]):
    """A tool in the OpenAI shape that knows the function it was made of."""

    function: ToolFunction
    arguments: type[BaseModel]
    """Checks the arguments of a call."""

    @property
    def name(self) -> str:
        """The name by which the model calls it."""
        name: str = self["function"]["name"]
        return name

    def without_function(self) -> FunctionTool:
        """Return a copy with its schema and its check, but without the function."""
        copied = FunctionTool(self)
        copied.arguments = self.arguments
        return copied

    def with_function(self, function: ToolFunction) -> FunctionTool:
        """Return a copy that runs `function`."""
        copied = self.without_function()
        copied.function = function
        return copied

    def parsed(self, text: str) -> dict[str, Any]:
        """Return the arguments in a call's JSON text, checked and converted to the types of the hints.

        Parameters that the call leaves out are left out here too.

        Raises:
            ValueError: the arguments do not fit.
        """
        model = self.arguments.model_validate_json(text or "{}")
        names = {field.alias or name: name for name, field in self.arguments.model_fields.items()}
        found = {shown: getattr(model, name) for shown, name in names.items() if name in model.model_fields_set}
        return {**found, **(model.model_extra or {})}

    def bound(self, arguments: Mapping[str, Any]) -> Callable[[], Any]:
        """Return a callable that calls the function with `arguments`."""
        given, positional = dict(arguments), []
        for parameter in _parameters(self.function):
            if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY or parameter.name not in given:
                break
            positional.append(given.pop(parameter.name))
        return partial(self.function, *positional, **given)


def tool_of(function: ToolFunction, name: str | None = None) -> FunctionTool:
    """Return `function` as a tool.

    Args:
        function: Any callable with type hints: a function, a method, a class.
        name: The name that the model uses for it. Default: the function's own name.

    Raises:
        InvalidRequestError: it has no usable name, takes ``*args``, or has a hint without a JSON Schema.
    """
    name = name or _name_of(function)
    if not _NAME.fullmatch(name):
        raise _wrong(f"{name!r:.70} is not a name for a tool (letters, digits, _ and -, at most 64): write it as a def")
    from pydantic.errors import PydanticUserError  # noqa: PLC0415 - most calls have no functions

    target: Any = function.func if isinstance(function, partial) else function
    # A callable object has the docstring of its class, which does not describe the call.
    doc = _own_doc(target) if hasattr(target, "__name__") else None
    summary, described = described_parameters(doc or "")
    try:
        arguments = _arguments_model(function, name, described)
        schema = arguments.model_json_schema(schema_generator=_quiet_generator())
    except InvalidRequestError:
        raise
    except (PydanticUserError, NameError, TypeError, ValueError, RecursionError) as error:
        reason = bounded(str(error).partition("\n")[0], 200)
        raise _wrong(f"the function {name} cannot be a tool: {reason}") from None
    if schema.get("type") != "object":
        raise _wrong(f"the function {name} cannot be a tool: arguments are an object, and it takes another value")
    schema.pop("title", None)
    schema.pop("description", None)
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
    schema.setdefault("properties", {})
    made = FunctionTool(
        type="function",
        function={"name": name} | ({"description": summary} if summary else {}) | {"parameters": schema},
    )
    made.function, made.arguments = function, arguments
    return made


_known_tools: WeakKeyDictionary[ToolFunction, FunctionTool] = WeakKeyDictionary()


def known_tool(function: ToolFunction) -> FunctionTool:
    """Same as `tool_of`, but cached for plain functions: it takes about a millisecond."""
    if not inspect.isfunction(function):
        return tool_of(function)
    known = _known_tools.get(function)
    if known is None:
        # The cached tool has no function, since a reference would keep the function alive here; each copy gets it back.
        known = tool_of(function)
        _known_tools[function] = known.without_function()
        return known
    return known.with_function(function)


def with_parsed_arguments(calls: Sequence[ToolCall], tools: Sequence[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """Return `calls` with `parsed` arguments: checked if the tool is a function, else just decoded from JSON."""
    known = {tool.name: tool for tool in tools if isinstance(tool, FunctionTool)}
    return tuple(replace(call, parsed=_parsed(call, known.get(call.name))) for call in calls)


def _parsed(call: ToolCall, tool: FunctionTool | None) -> dict[str, Any] | None:
    try:
        if tool is not None:
            return tool.parsed(call.arguments)
        value = json.loads(call.arguments or "{}")
    except Exception:  # noqa: BLE001 - the arguments do not fit; the application's validators may raise anything
        return None
    return value if isinstance(value, dict) else None


def run_tools(calls: Sequence[ToolCall], functions: Functions) -> list[dict[str, Any]]:
    """Run `calls` one after the other; see `LLMResponse.run_tools`."""
    tools = _by_name(functions)
    return [run_steps(_one(call, tools), _run) for call in calls]


async def run_tools_async(calls: Sequence[ToolCall], functions: Functions) -> list[dict[str, Any]]:
    """Run `calls` at the same time; see `LLMResponse.run_tools_async`."""
    tools = _by_name(functions)
    return list(await asyncio.gather(*(run_steps_async(_one(call, tools), _run_async) for call in calls)))


@dataclass(slots=True)
class _RunStep:
    """Run a function that answers a call; the driver sends back the result, or throws in the exception."""

    work: Callable[[], Any]
    is_async: bool


def _one(call: ToolCall, tools: Mapping[str, FunctionTool]) -> Generator[_RunStep, Any, dict[str, Any]]:
    """Return the message that answers `call`."""
    message: dict[str, Any] = {"role": "tool", "tool_call_id": call.id, "name": call.name}
    tool = tools.get(call.name)
    if tool is None:
        known = ", ".join(sorted(tools)) or "none"
        return message | {"content": bounded(f"Error: no tool {call.name!r}; there are: {known}"), "is_error": True}
    try:
        work = tool.bound(tool.parsed(call.arguments))
    except Exception as error:  # noqa: BLE001 - the model sees it, and may do better
        return message | {"content": _told_mistakes(error), "is_error": True}
    try:
        value = yield _RunStep(work, _is_async(tool.function))
        return message | {"content": content_of(value)}
    except Exception as error:  # noqa: BLE001 - as above
        return message | {"content": f"Error: {_told(error)}"[:_MAX_ERROR], "is_error": True}


def _run(step: _RunStep) -> Any:
    value = step.work()
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError("the function is async: await run_tools_async instead of run_tools")
    return value


async def _run_async(step: _RunStep) -> Any:
    value = step.work() if step.is_async else await call_in_thread_async(step.work)
    return await value if inspect.isawaitable(value) else value


def content_of(value: Any) -> Any:
    """Return the result of a function as the content of a message.

    Text and lists of parts (``image_part(...)``) stay as they are; everything else becomes JSON.
    """
    if isinstance(value, str):
        return whole_text(value)  # a lone surrogate could not be sent
    if isinstance(value, Mapping) and _is_part(value):
        return [dict(value)]
    if isinstance(value, (list, tuple)) and value and all(map(_is_part, value)):
        return [dict(part) for part in value]
    from pydantic_core import to_json  # noqa: PLC0415 - as above

    return to_json(value, fallback=str, inf_nan_mode="strings").decode()


def _is_part(value: Any) -> bool:
    kind = value.get("type") if isinstance(value, Mapping) else None
    return isinstance(kind, str) and kind in value and kind in ("text", "image_url", "input_audio", "file")


def _told_mistakes(error: Exception) -> str:
    """Describe what is wrong with the arguments, in words that help the model."""
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    if isinstance(error, ValidationError) and error.error_count() > _MAX_MISTAKES:
        told = f"{error.error_count()} values do not fit the schema"
    elif isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in found)
    else:
        told = _told(error)
    return whole_text(f"Error: the arguments do not fit: {told}"[:_MAX_ERROR])


def _told(error: Exception) -> str:
    """Describe an error of the application, even one whose `str` fails."""
    name = type(error).__name__
    try:
        return whole_text(f"{name}: {error}")
    except Exception:  # noqa: BLE001 - its `str` may raise anything
        return name


def _by_name(functions: Functions) -> dict[str, FunctionTool]:
    given: Any = functions
    if isinstance(given, Mapping):
        tools = [tool_of(function, name) for name, function in given.items()]
    elif isinstance(given, (str, bytes)) or callable(given) or not isinstance(given, Iterable):
        raise _wrong(f"functions must be a list of functions, not {type(given).__name__}")
    else:
        tools = [each if isinstance(each, FunctionTool) else known_tool(each) for each in given]
    return {tool.name: tool for tool in tools}


def _arguments_model(function: ToolFunction, name: str, described: Mapping[str, str]) -> type[BaseModel]:
    """Return the model of the parameters of `function`."""
    from pydantic import BaseModel, ConfigDict, Field, create_model  # noqa: PLC0415 - as above

    if inspect.isclass(function) and issubclass(function, BaseModel):
        return function  # its fields say more than its signature does
    hints = _hints(function)
    fields: dict[str, Any] = {}
    takes_more = False
    for index, parameter in enumerate(_parameters(function)):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise _wrong(f"the function {name} cannot be a tool: it takes *{parameter.name}, which has no name")
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_more = True
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        # Use our own field names: a parameter may have the name of a model's method, or begin with _.
        fields[f"parameter_{index}"] = (
            hints.get(parameter.name, Any),
            Field(default, alias=parameter.name, description=described.get(parameter.name)),
        )
    config = ConfigDict(extra="allow" if takes_more else "forbid", arbitrary_types_allowed=False)
    model: type[BaseModel] = create_model(name, __config__=config, __base__=None, **fields)
    assert issubclass(model, BaseModel)  # noqa: S101 - for type checkers
    return model


@cache
def _quiet_generator() -> type[GenerateJsonSchema]:
    """Return a schema generator that silently leaves out defaults without a JSON form (a factory, a marker)."""
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415 - as above

    class _Quiet(GenerateJsonSchema):
        ignored_warning_kinds = {*GenerateJsonSchema.ignored_warning_kinds, "non-serializable-default"}  # noqa: RUF012

    return _Quiet


def _parameters(function: ToolFunction) -> Iterable[inspect.Parameter]:
    return inspect.signature(function).parameters.values()


def _hints(function: ToolFunction) -> dict[str, Any]:
    target: Any = function
    while isinstance(target, (partial, partialmethod)):
        target = target.func
    if inspect.isclass(target):
        # Named tuples and the like have their hints only on the class.
        return {**get_type_hints(target, include_extras=True), **get_type_hints(target.__init__, include_extras=True)}
    if not inspect.isroutine(target):
        target = type(target).__call__
    return get_type_hints(target, include_extras=True)


def _own_doc(target: Any) -> str | None:
    """Return the docstring of `target`; for a class, ignore docstrings that it inherits."""
    if inspect.isclass(target):
        doc = vars(target).get("__doc__")
        return inspect.cleandoc(doc) if isinstance(doc, str) else None
    return inspect.getdoc(target)


def _is_async(function: ToolFunction) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _name_of(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, sent=False)
