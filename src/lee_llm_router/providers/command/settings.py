"""Settings of a `command` provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lee_llm_router._util.text_pattern import MAX_PATTERN, PatternError, compile_pattern
from lee_llm_router.errors import FailureType
from lee_llm_router.providers.agents.settings import ProgramConfig, program_of
from lee_llm_router.providers.base import Effects
from lee_llm_router.providers.command.json_path import MAX_PATH, parse_path
from lee_llm_router.providers.command.template import TemplateError, check_template, placeholders_of
from lee_llm_router.settings.fields import EnvName, Integer, Wait
from lee_llm_router.settings.model import Section

_OURS = (FailureType.CANCELLED, FailureType.UNAVAILABLE, FailureType.CONTRACT_VIOLATION)
"""Failures that only the router can detect."""


def _check_word(word: str) -> str:
    try:
        check_template(word)
    except TemplateError as error:
        raise PydanticCustomError("wanted_template", "{problem}", {"problem": str(error)}) from None
    return word


def _check_path(text: str) -> str:
    try:
        parse_path(text)
    except ValueError as error:
        raise PydanticCustomError("wanted_path", "{problem}", {"problem": str(error)}) from None
    return text


def _check_pattern(pattern: str) -> str:
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise PydanticCustomError("wanted_pattern", "{problem}", {"problem": str(error)}) from None
    return pattern


def _check_failure(kind: FailureType) -> FailureType:
    if kind in _OURS:
        raise PydanticCustomError("wanted_failure", "a program cannot fail like that: only the router can tell")
    return kind


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


_Template: TypeAlias = Annotated[str, AfterValidator(_check_word)]
_Path: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_PATH), AfterValidator(_check_path)]
_Pattern: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN), AfterValidator(_check_pattern)]
_ExitCode: TypeAlias = Annotated[Integer, Field(ge=-64, le=255)]


class FailureRule(Section):
    """What a failed run means. All given conditions must hold."""

    exit_code: _ExitCode | None = Field(None, description="The program's exit code; a negative one is a signal.")
    stderr: _Pattern | None = Field(
        None, description="A Python regular expression found in the last part of standard error."
    )
    stdout: _Pattern | None = Field(
        None,
        description="One found in standard output. If it is the only condition, it also fails a run that ended well.",
    )
    error: _Pattern | None = Field(None, description="One found in the message at error_path.")
    type: Annotated[FailureType, AfterValidator(_check_failure)] = Field(
        description="The failure: RATE_LIMIT, QUOTA, AUTH..."
    )
    retry_after: Wait | None = Field(None, description="Seconds to wait. Default: the time that the text names.")
    final: bool = Field(False, description="Whether another attempt at the same target is pointless.")

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if self.exit_code is None and not (self.stderr or self.stdout or self.error):
            raise PydanticCustomError("wanted_condition", "give exit_code, stderr, stdout or error")
        return self


class UsagePaths(Section):
    """Paths of the token counts in the output."""

    prompt_tokens: _Path | None = Field(None, description="Path to the tokens of the prompt, including cached ones.")
    completion_tokens: _Path | None = Field(None, description="Path to the tokens of the answer, including reasoning.")
    total_tokens: _Path | None = Field(None, description="Path to their sum. Default: it is computed.")
    cached_tokens: _Path | None = Field(None, description="Path to the prompt's tokens that were read from a cache.")
    cache_write_tokens: _Path | None = Field(
        None, description="Path to the prompt's tokens that were written to a cache."
    )
    reasoning_tokens: _Path | None = Field(
        None, description="Path to the answer's tokens that were spent on reasoning."
    )


class CommandConfig(ProgramConfig):
    """Settings of a `command` provider."""

    type: str = Field("command", description="command")
    argv: Annotated[tuple[_Template | tuple[_Template, ...], ...], Field(min_length=1, max_length=1000)] = Field(
        description="The command line, word by word, with placeholders like {model}. A list within it is a group of"
        " words that is left out if a placeholder in it has no value. No shell is involved.",
    )
    input: Literal["text", "json"] = Field(
        "text", description="What standard input holds: the conversation as text, or the request as a JSON object."
    )
    output: Literal["stdout", "file", "json"] = Field(
        "stdout",
        description="Where the answer is: standard output, the file {output_file}, or JSON on standard output.",
    )
    answer_path: _Path | None = Field(
        None,
        description="Path to the answer in the JSON output; of several lines of JSON, the last one that has it counts.",
    )
    error_path: _Path | None = Field(None, description="Path to an error message; if there is one, the run failed.")
    model_path: _Path | None = Field(None, description="Path to the name of the model that served.")
    session_path: _Path | None = Field(None, description="Path to the id of the session or answer.")
    reasoning_path: _Path | None = Field(None, description="Path to the model's reasoning.")
    finish_path: _Path | None = Field(
        None, description="Path to the reason why the answer ended; words for cut, filtered or failed are understood."
    )
    cost_path: _Path | None = Field(None, description="Path to the cost in US dollars.")
    usage_paths: UsagePaths = Field(default_factory=UsagePaths, description="Paths to token counts.")
    set_env: dict[EnvName, _Template] = Field(
        default_factory=dict, description="Environment variables to set; their values may hold placeholders."
    )
    api_key_env: EnvName | None = Field(
        None, description="Environment variable that holds the key, read at each attempt. Unset: no key."
    )
    key_variable: EnvName | None = Field(
        None, description="Variable in which the program expects the key. Default: the one that api_key_env names."
    )
    success_exits: Annotated[tuple[_ExitCode, ...], BeforeValidator(_one_or_many), Field(min_length=1)] = Field(
        (0,), description="Exit codes of a successful run."
    )
    failures: tuple[FailureRule, ...] = Field(
        (), max_length=100, description="What exit codes and texts mean; the first rule that fits a failed run counts."
    )
    effects: Effects = Field(
        "external",
        description="What a run may change: none, workspace or external. An attempt is repeated only after none."
        " Default: external, because it is not known.",
    )

    @property
    def program(self) -> str:
        """The program: a name on PATH, or a path relative to the folder of the configuration."""
        return program_of(str(self.argv[0]), self.origin)

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders in use."""
        return placeholders_of((*self.argv, *self.set_env.values()))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problems := list(self._problems()):
            raise PydanticCustomError("contradiction", "{problems}", {"problems": "; ".join(problems)})
        return self

    def _problems(self) -> Iterator[str]:
        first = self.argv[0]
        if not isinstance(first, str) or not first.strip() or placeholders_of((first,)):
            yield "argv begins with the program, as it is"
        if self.output == "json" and self.answer_path is None:
            yield "output: json needs answer_path, which says where"
        if (self.output == "file") != ("output_file" in self.placeholders):
            yield "output: file and the placeholder {output_file} need each other"
        if self.api_key_file is not None and self.key_variable is None:
            yield "api_key_file needs key_variable, the program's own name for it"
        if self.key_variable is not None and self.api_key_env is None and self.api_key_file is None:
            yield "key_variable needs api_key_env or api_key_file, which say where the key is"
        if any(rule.exit_code in self.success_exits for rule in self.failures if rule.exit_code is not None):
            yield "the exit_code of a failure is among success_exits"
        if self.error_path is None and any(rule.error for rule in self.failures):
            yield "the error of a failure is looked up at error_path, which is missing"
