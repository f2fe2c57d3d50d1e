"""Questions and answers in readable form: messages under their roles, indented JSON, pictures by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.cli.output import escaped
from lee_llm_router.cli.trace.figures import count, value_text
from lee_llm_router.cli.trace.layout import columns, fitted
from lee_llm_router.telemetry.record_json import json_text
from lee_llm_router.telemetry.records import TraceRecord

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_CHARACTERS = 2000
_SHOWN_LINES = 40
_FIRST_MESSAGES = 2
_LAST_MESSAGES = 8
_MAX_JSON = 200_000
"""Longest text to examine for JSON, in characters."""
_SHORT_JSON = 60
"""Longest JSON to keep on one line, in characters."""
_MAX_NAMES = 30
_RULE = 60


class ContentStyle(NamedTuple):
    """How to draw texts."""

    plain: bool
    """Whether the output is a pipe: lines stay unwrapped."""
    full: bool = False
    """Whether to show long texts in full."""
    rule: str = "─"
    """The character for a heading's line."""


def render_content(record: TraceRecord, console: Console, style: ContentStyle) -> None:
    """Draw the captured content of a record: the question, then the answer."""
    if record.messages is not None:
        render_question(record, console, style)
    render_answer(record, console, style)


def render_question(record: TraceRecord, console: Console, style: ContentStyle) -> None:
    """Draw the messages of a record, each under its role, the offered tools and the settings."""
    messages = list(record.messages or ())
    left_out = 0 if style.full else len(messages) - _FIRST_MESSAGES - _LAST_MESSAGES
    for number, message in enumerate(messages):
        if left_out > 1 and _FIRST_MESSAGES <= number < len(messages) - _LAST_MESSAGES:
            if number == _FIRST_MESSAGES:
                _line(console, f"… {left_out} messages in between; --full shows all", "dim", style)
            continue
        _message(message, console, style)
    if record.tools:
        names = [_tool_name(tool) for tool in record.tools[:_MAX_NAMES]]
        more = ", …" if len(record.tools) > _MAX_NAMES else ""
        heading(console, "tools offered", style)
        write_text(console, ", ".join(names) + more, style)
    if record.settings:
        heading(console, "settings", style)
        for name, value in list(record.settings.items())[:_MAX_NAMES]:
            _setting(console, bounded(str(name), 100), value, style)


def _setting(console: Console, name: str, value: Any, style: ContentStyle) -> None:
    """Draw a setting on a line; a schema, or another long value with parts, is laid out below its name."""
    laid_out = json_text(value).decode() if isinstance(value, Mapping | list | tuple) else ""
    if len(laid_out) <= _SHORT_JSON:
        write_text(console, f"{name}: {_one_line(value, style)}", style)
        return
    write_text(console, f"{name}:", style)
    write_text(console, laid_out, style)


def render_answer(record: TraceRecord, console: Console, style: ContentStyle) -> None:
    """Draw the captured answer of a record: reasoning, text and tool calls."""
    if record.reasoning:
        heading(console, "reasoning", style)
        write_text(console, record.reasoning, style, "dim")
    if record.text or (record.text is not None and not record.tool_calls):
        heading(console, "answer", style)
        write_text(console, record.text or "(empty)", style)
    for call in record.tool_calls or ():
        heading(console, f"calls {_word(call.get('name'))}", style)
        write_text(console, _argument_text(call.get("arguments")), style)


def answer_text(record: TraceRecord) -> str:
    """Return an answer as one text: its text, then its tool calls."""
    calls = (f"calls {_word(call.get('name'))} {_argument_text(call.get('arguments'))}"
             for call in record.tool_calls or ())  # fmt: skip
    return "\n".join(part for part in (record.text or "", *calls) if part)


def heading(console: Console, title: str, style: ContentStyle) -> None:
    """Draw a line with a title in it."""
    text = fitted(title, max(4, console.width - 4))
    rest = style.rule * max(0, min(console.width, _RULE) - columns(text) - 4)
    line = Text.assemble((f"{style.rule * 2} ", "dim"), (text, "bold"), (f" {rest}", "dim"))
    line.rstrip()
    console.print(line, no_wrap=True, overflow="ignore", crop=False)


def write_text(console: Console, text: str, style: ContentStyle, look: str = "") -> None:
    """Draw a text of any length with its line breaks; JSON is indented, and a text that is too long is cut, with a
    note."""
    text = text if style.full else _head(text)
    laid_out = _laid_out(text)
    shown, left = _shortened(laid_out, style)
    _line(console, shown, look, style)
    if left:
        _line(console, f"… {count(left)} more characters; --full shows all", "dim", style)


def shown_text(text: str, style: ContentStyle) -> str:
    """Return a text in the form of `write_text`."""
    text = text if style.full else _head(text)
    shown, left = _shortened(_laid_out(text), style)
    return _fit_to_show(shown) + (f"\n… {count(left)} more characters; --full shows all" if left else "")


def _fit_to_show(text: str) -> str:
    return escaped(text.replace("\r\n", "\n")).expandtabs(4)


def _line(console: Console, text: str, look: str, style: ContentStyle) -> None:
    text = _fit_to_show(text)
    if not style.plain:
        console.print(Text(text, look, overflow="fold"), soft_wrap=False)
    else:
        console.print(Text(text), soft_wrap=True)


class _Cut(str):
    """A cut text, with a note on the missing part."""

    left = 0


def _head(text: str) -> str:
    """Return the beginning of a very long text, so that the rest takes no work."""
    if len(text) <= _MAX_JSON:
        return text
    head = _Cut(text[:_SHOWN_CHARACTERS])
    head.left = len(text) - _SHOWN_CHARACTERS
    return head


def _shortened(text: str, style: ContentStyle) -> tuple[str, int]:
    """Return the shown part of `text`, and how many characters are missing."""
    if style.full:
        return text, 0
    missing = text.left if isinstance(text, _Cut) else 0
    lines = text[:_SHOWN_CHARACTERS].split("\n")[:_SHOWN_LINES]
    shown = "\n".join(lines)
    return shown, missing + len(text) - len(shown)


def _laid_out(text: str) -> str:
    """Return a text that is a JSON object or list with its parts on separate lines; any other text unchanged."""
    is_short = len(text) <= _SHORT_JSON and "\n" not in text
    if is_short or text.lstrip()[:1] not in ("{", "[") or len(text) > _MAX_JSON or isinstance(text, _Cut):
        return text
    from pydantic_core import from_json  # noqa: PLC0415 - most answers are none

    try:
        return json_text(from_json(text), indent=2).decode()
    except ValueError:
        return text


def _message(message: Mapping[str, Any], console: Console, style: ContentStyle) -> None:
    role = _word(message.get("role"))
    about = [_word(message[key]) for key in ("name", "tool_call_id") if isinstance(message.get(key), str)]
    heading(console, f"{role} ({', '.join(about)})" if about else role, style)
    for text in _message_texts(message):
        write_text(console, text, style)


def _message_texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping) or (content is not None and not isinstance(content, Sequence)):
        yield json_text(content).decode()
    else:
        yield from _part_texts(content or ())
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list | tuple) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        called = function if isinstance(function, Mapping) else {}
        yield f"calls {_word(called.get('name'))} {_argument_text(called.get('arguments'))}"


def _part_texts(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif not isinstance(part, Mapping):
            yield value_text(part)
        elif isinstance(part.get("text"), str):
            yield part["text"]
        else:
            yield _media_words(part) or f"[{_word(part.get('type'))}: {value_text(part)}]"


def _media_words(part: Mapping[str, Any]) -> str | None:
    """Return a word for a picture, a sound or a file: ``[image: image/png, 34 kB]``; None for any other part."""
    from lee_llm_router.errors import LLMRouterError  # noqa: PLC0415 - as above
    from lee_llm_router.response.content import media_of  # noqa: PLC0415 - most messages are text

    try:
        media = media_of(part)
    except LLMRouterError:
        return None
    if media is None:
        return None
    if media.data is not None:
        told = [media.name, media.media_type, f"{len(media.data) * 3 / 4000:.0f} kB"]
    else:
        told = [media.name, media.media_type, bounded(media.url or media.file_id or "", 200)]
    return f"[{media.kind}: {', '.join(bounded(word, 200) for word in told if word)}]"


def _argument_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return _laid_out(arguments)
    return "" if arguments is None else json_text(arguments, indent=2).decode()


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    named = function if isinstance(function, Mapping) else tool
    parameters = named.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    names = [bounded(str(name), 50) for name in properties] if isinstance(properties, Mapping) else []
    return f"{_word(named.get('name'))}({', '.join(names[:_MAX_NAMES])})"


def _one_line(value: Any, style: ContentStyle) -> str:
    if style.full:
        return value if isinstance(value, str) else json_text(value).decode()
    return bounded(value_text(value), 300)


def _word(value: Any) -> str:
    return bounded(value, 100) if isinstance(value, str) and value else "?"
