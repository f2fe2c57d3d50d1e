"""Parts of messages and results of tools in forms that are rare."""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from lee_llm_router import LLMResponse, ToolCall
from lee_llm_router.response.content import media_of


@pytest.mark.parametrize(("file", "kind", "data"), [
    ({"file_data": "JVBERi0=", "filename": "a.pdf"}, "application/pdf", b"%PDF-"),
    ({"file_data": "QUJD"}, "application/octet-stream", b"ABC"),
    ({"file_data": "data:text/plain,a%20%C3%BC"}, "text/plain", "a ü".encode()),
])  # fmt: skip
def test_a_file_may_be_plain_base64_or_a_plain_data_url(file: dict[str, str], kind: str, data: bytes) -> None:
    media = media_of({"type": "file", "file": file})
    assert media is not None and media.data is not None
    assert (media.media_type.partition(";")[0], b64decode(media.data)) == (kind, data)


class Wordless(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("not even that")


class Awaitable:
    """Something to await that is no coroutine."""

    def __await__(self) -> Any:
        yield


def _content(function: Any, arguments: str = "{}") -> tuple[Any, bool]:
    """What a function's result, or its failure, becomes in the message that goes back to the model."""
    answer = LLMResponse(text="", tool_calls=(ToolCall(id="c", name=function.__name__, arguments=arguments),))
    (message,) = answer.run_tools([function])
    return message["content"], bool(message.get("is_error"))


def test_a_list_of_parts_goes_back_as_parts() -> None:
    def look() -> list[dict[str, Any]]:
        return [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://x.test/1"}}]

    content, is_error = _content(look)
    assert [part["type"] for part in content] == ["text", "image_url"] and not is_error


def test_a_function_that_must_be_awaited_is_told_as_that() -> None:
    def look() -> Awaitable:
        return Awaitable()

    content, is_error = _content(look)
    assert is_error and "await run_tools_async" in content


def test_an_error_that_cannot_say_what_it_is_is_told_by_its_name() -> None:
    def look() -> str:
        raise Wordless

    content, is_error = _content(look)
    assert is_error and content == "Error: Wordless"


def test_arguments_that_break_before_they_are_checked_are_told_to_the_model() -> None:
    def look(at: str) -> str:
        return at

    for function, arguments in ((look, "{"), (look, "[]"), (look, '{"at": 7}'), (look_up, '{"at": "x"}')):
        content, is_error = _content(function, arguments)
        assert is_error and content.startswith("Error: the arguments do not fit")


def _known(place: str) -> str:
    """A validator of the application's, with a bug."""
    return {"here": "there"}[place]


def look_up(at: Annotated[str, AfterValidator(_known)]) -> str:
    return at
