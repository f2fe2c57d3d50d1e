"""Reads a program's output, and finds the answer or the failure in it. Pure except for the answer file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from lee_llm_router._util.numbers import amount, count
from lee_llm_router._util.regular_files import read_regular_file
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.errors import FailureType
from lee_llm_router.providers.agents.failures import Failure
from lee_llm_router.providers.agents.turn import AgentTurn, plain_text
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.providers.command.failures import fitting_rule, judged, shows_failure
from lee_llm_router.providers.command.json_path import MISSING, documents_in, parse_path, value_at
from lee_llm_router.providers.command.settings import CommandConfig
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.finish_reasons import broken_off, known_word
from lee_llm_router.response.details import AnswerDetails
from lee_llm_router.response.types import UNREPORTED, LLMResponse, LLMUsage, StreamChunk

_BOM = "\ufeff"
_MAX_NAME = 200
_path = lru_cache(maxsize=512)(parse_path)


class _NoAnswerError(Exception):
    """There is no answer; the text says why."""


class CommandTurn(AgentTurn):
    """The output of one run.

    Args:
        config: Says where the answer is.
        output_file: The file for the answer.
        wants_json: Whether the answer must be JSON.
    """

    def __init__(self, config: CommandConfig, output_file: Path, *, wants_json: bool) -> None:
        super().__init__()
        # Whether and when a program sends a request is not visible.
        self.started = True
        self._config = config
        self._output_file = output_file
        self._wants_json = wants_json
        self._lines: list[bytes] = []
        self._streams = config.output == "stdout" and config.answer_path is None and not wants_json
        # If an error is printed like an answer, only the end shows which it is.
        self._streams = self._streams and not any(rule.stdout for rule in config.failures)
        self._has_streamed = False
        self._held = ""
        self._failure: Failure | None = None
        self._error: str | None = None
        self._stdout = ""

    def feed(self, line: bytes) -> StreamChunk | None:
        """Keep one line: its meaning is known at the end. Lines that are the answer itself are streamed."""
        self._lines.append(line)
        if not self._streams:
            return None
        try:
            text = line.decode("utf-8-sig" if len(self._lines) == 1 else "utf-8")
        except UnicodeDecodeError:
            self._streams = False
            return None
        # Hold back line ends: those before and after the answer are not part of it.
        whole = self._held + ("\n" if len(self._lines) > 1 else "") + text
        if not self._has_streamed:
            whole = whole.lstrip("\r\n")
        piece = whole.rstrip("\r\n")
        self._held = whole[len(piece) :]
        self._has_streamed = self._has_streamed or bool(piece)
        return StreamChunk(text=piece) if piece else None

    @property
    def has_failed(self) -> bool:
        """Whether a failure is known before the program has ended: never."""
        return False

    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        """Return the answer if the program ended successfully, reported no error, and gave one."""
        config = self._config
        raw = b"\n".join(self._lines)
        self._stdout = raw.decode(errors="replace")
        documents = documents_in(self._stdout.removeprefix(_BOM)) if any(_all_paths(config)) else []
        self._error = self._error_in(documents)
        if returncode not in config.success_exits or self._error is not None:
            return None
        if shows_failure(config.failures, self._stdout):
            self._error = self._stdout
            return None
        try:
            text = self._text(raw, documents)
        except _NoAnswerError as error:
            self._failure = Failure(FailureType.INVALID_RESPONSE, str(error), returncode)
            return None
        response = self._response(text, documents, request_bytes)
        reason = response.details.finish_reason or ""
        broken = broken_off(HTTPReply(200, b""), reason)
        if broken is not None:
            self.text, self.usage = text, response.usage
            self._failure = Failure(broken.failure_type, broken.message, returncode, final=broken.final)
            return None
        return response

    def failure(self, result: ChildResult, now: float) -> Failure:
        """See `AgentTurn.failure`."""
        stderr = result.stderr.decode(errors="replace")
        rule = fitting_rule(self._config.failures, result.returncode, stderr, self._stdout, self._error)
        ended_well = result.returncode in self._config.success_exits
        if rule is None and self._failure is not None and ended_well:
            return self._failure
        return judged(rule, self._error, result.returncode, stderr, now)

    def _error_in(self, documents: list[Any]) -> str | None:
        found = self._found(self._config.error_path, documents)
        if found is MISSING or found in (False, "", 0, [], {}):
            return None
        return plain_text(found if isinstance(found, str) else json.dumps(found))

    def _text(self, raw: bytes, documents: list[Any]) -> str:
        """Return the answer; append the values in an answer file to `documents`."""
        config = self._config
        by_file = config.output == "file"
        if config.answer_path is None:
            text = (self._file_text() if by_file else _decoded(raw, "the program printed")).strip("\r\n")
        else:
            source = documents_in(self._file_text()) if by_file else documents
            documents += source if by_file else []
            text = self._text_at(config.answer_path, source)
        if not text.strip():
            raise _NoAnswerError("the program ended normally but gave no answer")
        return text

    def _text_at(self, path: str, documents: list[Any]) -> str:
        found = self._found(path, documents)
        if found is MISSING:
            where = "the program's JSON has" if documents else "the program gave no JSON: there is"
            raise _NoAnswerError(f"{where} nothing at answer_path {path}")
        if isinstance(found, str):
            return plain_text(found)
        if self._wants_json:
            return plain_text(json.dumps(found, ensure_ascii=False))
        raise _NoAnswerError(f"at answer_path {path} there is no text but a JSON {_JSON_NAMES[type(found)]}")

    def _file_text(self) -> str:
        try:
            data = read_regular_file(self._output_file, self._config.max_output_bytes, follow=False)
        except FileNotFoundError:
            raise _NoAnswerError("the program ended normally but wrote no answer file") from None
        except OSError as error:
            raise _NoAnswerError(f"the answer file cannot be read: {error.strerror}") from None
        return _decoded(data, "the answer file holds")

    def _response(self, text: str, documents: list[Any], request_bytes: int) -> LLMResponse:
        config = self._config
        reason = self._name(config.finish_path, documents)
        reasoning = self._found(config.reasoning_path, documents)
        return LLMResponse(
            text=text,
            reasoning=plain_text(reasoning) or None if isinstance(reasoning, str) else None,
            finish_reason=known_word(reason, calls_tools=False) or "stop",
            usage=self._usage(documents),
            cost_usd=None if (cost := self._found(config.cost_path, documents)) is MISSING else amount(cost),
            model=self._name(config.model_path, documents),
            raw=documents or None,
            request_bytes=request_bytes,
            details=AnswerDetails(id=self._name(config.session_path, documents), finish_reason=reason),
        )

    def _usage(self, documents: list[Any]) -> LLMUsage:
        found: Mapping[str, int | None] = {
            name: None if (value := self._found(path, documents)) is MISSING else count(value)
            for name, path in self._config.usage_paths
        }
        if all(value is None for value in found.values()):
            return UNREPORTED
        prompt, completion, total = (found[f"{name}_tokens"] for name in ("prompt", "completion", "total"))
        if total is None and prompt is not None and completion is not None:
            total = prompt + completion
        return LLMUsage(**{**found, "total_tokens": total})

    def _name(self, path: str | None, documents: list[Any]) -> str | None:
        found = self._found(path, documents)
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        return bounded(plain_text(found), _MAX_NAME) or None if isinstance(found, str) else None

    def _found(self, path: str | None, documents: list[Any]) -> Any:
        """Return the value at `path` in the last document that has one."""
        if path is None:
            return MISSING
        steps = _path(path)
        return next((found for one in reversed(documents) if (found := value_at(one, steps)) is not MISSING), MISSING)


_JSON_NAMES: Mapping[type, str] = {dict: "object", list: "array", int: "number", float: "number", bool: "boolean"}


def _all_paths(config: CommandConfig) -> Iterator[str | None]:
    yield from (
        config.answer_path, config.error_path, config.model_path, config.session_path, config.reasoning_path,
        config.finish_path, config.cost_path,
    )  # fmt: skip
    yield from (path for _, path in config.usage_paths)


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _NoAnswerError(f"{what} bytes that are not UTF-8, at {error.start}") from None
