"""The provider `command`: runs any program for each attempt, as the settings say.

The command line is a template that no shell reads. The conversation goes to standard input (or a file), never onto the
command line. The answer is what the program prints or writes into a file, or the value at a path in its JSON.

An option of a call reaches the program through a placeholder (``{temperature}``), or with ``input: json``, which passes
all options. As with any provider, a target that cannot express an option is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from lee_llm_router._util.scrubbing import is_sensitive_parameter
from lee_llm_router.providers.agents import prompt as agent_prompt
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.providers.agents.base import INEXPRESSIBLE, AgentProvider
from lee_llm_router.providers.agents.run import AgentCommand, AgentRun
from lee_llm_router.providers.base import Effects, ProviderConfig
from lee_llm_router.providers.command.output import CommandTurn
from lee_llm_router.providers.command.settings import CommandConfig
from lee_llm_router.providers.command.template import OPTIONS, fill, fill_words
from lee_llm_router.providers.http.dialects.json_body import encode_json
from lee_llm_router.providers.json_schema import json_schema_of
from lee_llm_router.response.details import NATIVE_FIELD
from lee_llm_router.response.types import LLMRequest

MARK = "LEE_LLM_ROUTER_RUN"
"""The variable with the private folder of a run."""

_NO_WAY = "no placeholder in argv or set_env passes it on, and input is not json"
_NEVER = {
    "logprobs": "a program cannot report them", "top_logprobs": "a program cannot report them",
    "extra_query": "a program has no address", "headers": "a program has no headers",
}  # fmt: skip
_BY_PLACEHOLDER = frozenset(OPTIONS) - {"model"}
_IN_JSON = (*OPTIONS, "stop", "json_mode", "extra_body")
_KEPT_OUT = (NATIVE_FIELD, "cache")
"""Message fields for other providers."""


class CommandProvider(AgentProvider[CommandConfig]):
    """Runs a program once per attempt. Keeps nothing between attempts."""

    config_model: ClassVar[type[ProviderConfig]] = CommandConfig
    inexpressible: ClassVar[Mapping[str, str]] = _NEVER
    title: ClassVar[str] = "the program"
    help_words: ClassVar[tuple[str, ...]] = ()
    version_words: ClassVar[tuple[str, ...]] = ()

    @property
    def effects(self) -> Effects:
        """What a run may change, according to the settings."""
        return self.config.effects

    @property
    def has_tools(self) -> bool:
        """Any program may start others."""
        return True

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: CommandConfig) -> Mapping[str, str]:
        """Return the options that neither a placeholder nor the JSON input passes on."""
        reasons = dict(_NEVER)
        if settings.input != "json":
            passed = settings.placeholders
            lost = {*_BY_PLACEHOLDER, *INEXPRESSIBLE} - passed - _NEVER.keys()
            reasons |= dict.fromkeys(lost, _NO_WAY)
        return {option: reason for option, reason in reasons.items() if request.asks_for(option)}

    def secrets(self) -> Iterable[str]:
        """Return the key, and the values of passed-on variables whose names suggest keys."""
        yield from super().secrets()
        names = filter(is_sensitive_parameter, self.config.env)
        yield from (value for name in names if (value := self.config.origin.variable(name)))

    def prompt(self, request: LLMRequest) -> str:
        """See `AgentProvider.prompt`."""
        if self.config.input == "json":
            agent_prompt.render_conversation(request, "command")  # refuses what no program accepts
            return encode_json(_request_object(request, request.model or self.config.model)).decode()
        prompt = agent_prompt.render_conversation(request, "command")
        if "system_file" in self.config.placeholders:
            return prompt
        instructions = self._instructions(request)
        return f"{instructions}\n\n{prompt}" if instructions else prompt

    def own_environment(self, dirs: AttemptDirs, key: str | None) -> Mapping[str, str | None]:
        """See `AgentProvider.own_environment`."""
        # The mark identifies the program's own children, whatever its other variables are.
        own: dict[str, str | None] = {"HOME": str(dirs.home), "TMPDIR": str(dirs.temp), MARK: str(dirs.root)}
        name = self.config.key_variable or self.config.api_key_env
        return own if name is None else {**own, name: key}

    def new_turn(self, run: AgentRun) -> CommandTurn:
        """See `AgentProvider.new_turn`."""
        return CommandTurn(self.config, _output_file(run.dirs), wants_json=run.request.wants_json)

    def command(self, run: AgentRun) -> AgentCommand:
        """See `AgentProvider.command`."""
        config = self.config
        folder = config.origin.path(config.workspace).absolute() if config.workspace else run.dirs.work
        used = config.placeholders
        values = self._options(run) | self._files(run, used) | {
            "workspace": str(folder), "temp_folder": str(run.dirs.temp),
            "config_folder": config.origin.folder or str(Path.cwd()),
        }  # fmt: skip
        argv = [run.executable, *fill_words(config.argv[1:], values)]
        env = {name: value for name, word in config.set_env.items() if (value := fill(word, values)) is not None}
        by_file = "prompt_file" in used
        size = len(run.prompt) + sum(
            Path(values[name]).stat().st_size for name in ("system_file", "schema_file") if name in values
        )
        return AgentCommand(argv=argv, stdin=b"" if by_file else run.prompt, folder=folder, request_bytes=size, env=env)

    def _options(self, run: AgentRun) -> dict[str, str]:
        """Return the values of the placeholders for options."""
        found = {name: getattr(run.request, name) for name in OPTIONS} | {"model": run.model}
        return {name: str(value) for name, value in found.items() if value is not None}

    def _files(self, run: AgentRun, used: frozenset[str]) -> dict[str, str]:
        """Write the files that placeholders name; return their paths."""
        request, dirs = run.request, run.dirs
        files: dict[str, str] = {"output_file": str(_output_file(dirs))}
        if "prompt_file" in used:
            files["prompt_file"] = str(dirs.write("prompt.txt", run.prompt.decode()))
        if "system_file" in used and (instructions := self._instructions(request)):
            files["system_file"] = str(dirs.write("system.txt", instructions))
        if "schema_file" in used and request.schema is not None:
            files["schema_file"] = str(dirs.write_json("schema.json", json_schema_of(request.schema)))
        return files

    def _instructions(self, request: LLMRequest) -> str:
        in_words = "schema_file" not in self.config.placeholders
        return agent_prompt.render_instructions(request, "command", schema_in_words=in_words) or ""


def _output_file(dirs: AttemptDirs) -> Path:
    return dirs.root / "answer"


def _request_object(request: LLMRequest, model: str | None) -> dict[str, Any]:
    """Return the request in the form of ``input: json``: the names are those of `LLMRequest`."""
    messages = [{key: value for key, value in one.items() if key not in _KEPT_OUT} for one in request.messages]
    asked = {name: getattr(request, name) for name in _IN_JSON if request.asks_for(name)}
    schema = {} if request.schema is None else {"schema": json_schema_of(request.schema)}
    return {"messages": messages, **asked, "model": model, **schema}
