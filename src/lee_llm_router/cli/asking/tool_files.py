"""Tools from files: the functions of a Python file, or definitions in a JSON file."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lee_llm_router._util.scrubbing import bounded, text_of_exception
from lee_llm_router.cli.arguments import text_of
from lee_llm_router.cli.output import PROGRAM, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from lee_llm_router.response.types import LLMResponse

_MAX_BYTES = 1_000_000


def read_tools(given: Iterable[str] | None) -> list[Mapping[str, Any]]:
    """Return the tools that `given` names: ``FILE.py``, ``FILE.py:NAME``, ``FILE.json``. Runs a Python file.

    Raises:
        typer.BadParameter: a file cannot be read or run, or holds no tools.
    """
    found: list[Mapping[str, Any]] = []
    for one in given or ():
        name = str(text_of(one, "--tool"))
        path, _, wanted = name.rpartition(":") if ".py:" in name else (name, "", "")
        if path.endswith(".py"):
            found += _functions(Path(path), wanted)
        elif path.endswith(".json"):
            found += _definitions(Path(path))
        else:
            raise _wrong(f"{name!r:.80} is neither FILE.py, FILE.py:NAME nor FILE.json")
    return found


class ToolRunner:
    """Runs the tool calls of answers if possible: functions can run, definitions cannot.

    A function's output goes to standard error: standard output is for the answer.

    Args:
        tools: The offered tools.
    """

    def __init__(self, tools: Iterable[Mapping[str, Any]]) -> None:
        from lee_llm_router.response.tools import FunctionTool  # noqa: PLC0415

        self._functions: list[Any] = []
        self._shown_only: set[str] = set()
        for tool in tools:
            if isinstance(tool, FunctionTool):
                self._functions.append(tool)
            else:
                self._shown_only.add(str(tool["function"]["name"]))

    def can_run(self, answer: LLMResponse) -> bool:
        """Whether `answer` calls tools, and all of them can run. The model is told of unknown names."""
        names = {call.name for call in answer.tool_calls}
        return bool(self._functions and names) and not names & self._shown_only

    def results(self, answer: LLMResponse) -> list[dict[str, Any]]:
        """Run the tool calls of `answer`, report that, and return the messages for the model."""
        import asyncio  # noqa: PLC0415
        from contextlib import redirect_stdout  # noqa: PLC0415

        with redirect_stdout(sys.stderr):
            found = asyncio.run(answer.run_tools_async(self._functions))
        for call, result in zip(answer.tool_calls, found, strict=True):
            say(f"{PROGRAM}: {bounded(f'{call.name}({call.arguments})', 200)} -> {_told(result)}")
        return found


def _told(result: Mapping[str, Any]) -> str:
    content = result.get("content")
    return bounded(content, 300) if isinstance(content, str) else f"{len(content or ())} parts"


def _functions(path: Path, wanted: str) -> list[Mapping[str, Any]]:
    from lee_llm_router.errors import InvalidRequestError  # noqa: PLC0415
    from lee_llm_router.response.tools import tool_of  # noqa: PLC0415

    functions = _public_functions(path)
    if wanted:
        if wanted not in functions:
            from lee_llm_router._util.suggestions import Suggester  # noqa: PLC0415

            raise _wrong(f"{path.name} has no function {wanted!r:.60}{Suggester().did_you_mean(wanted, functions)}")
        functions = {wanted: functions[wanted]}
    if not functions:
        raise _wrong(f"{path.name} defines no function whose name begins without _")
    try:
        return [tool_of(function) for function in functions.values()]
    except InvalidRequestError as error:
        raise _wrong(f"{path.name}: {error.message}") from None


def _public_functions(path: Path) -> dict[str, Callable[..., Any]]:
    """Run the file, and return the functions that it defines."""
    from contextlib import redirect_stdout  # noqa: PLC0415
    from types import ModuleType  # noqa: PLC0415

    text, module = _read(path), ModuleType(f"lee_llm_router_tools_{path.stem}")
    module.__file__ = str(path.absolute())
    # Pickles, dataclasses and type hints look here for the file's definitions.
    sys.modules[module.__name__] = module
    try:
        # Not as an import, which would leave a folder with compiled code next to the file.
        with redirect_stdout(sys.stderr):
            exec(compile(text, str(path), "exec"), vars(module))  # noqa: S102 - the user has named it to be run
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the file is the user's, and may raise anything
        line = _line_in(path, error)
        raise _wrong(f"{path.name}{line}: {bounded(text_of_exception(error))}") from None
    members = vars(module).items()
    return {
        name: value
        for name, value in members
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def _line_in(path: Path, error: BaseException) -> str:
    """Return where in the file `error` was raised, as ``:12``; empty if unknown."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f":{line}" if line else ""


def _definitions(path: Path) -> list[Mapping[str, Any]]:
    try:
        value = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise _wrong(f"{path.name} is not JSON") from None
    found = value if isinstance(value, list) else [value]
    tools: list[Mapping[str, Any]] = []
    for one in found:
        if not isinstance(one, dict):
            raise _wrong(f"{path.name}: a tool is an object, with a name and parameters")
        tool = one if "function" in one else {"type": "function", "function": one}
        function = tool["function"]
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _wrong(f"{path.name}: a tool has no name")
        tools.append(tool)
    return tools


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        raise _wrong(f"{path}: cannot be read: {reason}") from None
    if len(data) > _MAX_BYTES:
        raise _wrong(f"{path.name} is larger than {_MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong(f"{path.name} is not UTF-8 text") from None


def _wrong(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--tool")
