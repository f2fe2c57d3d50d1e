"""The provider `codex_cli`: OpenAI's Codex CLI (`codex exec`) as a completion backend.

Each attempt runs the program once, with private folders that are removed afterwards. The prompt goes in on standard
input, the key in the environment: neither is on the command line. See `prompt` for how a conversation is
rendered and `failures` for how failures are told apart.

Codex takes no `temperature`, `top_p`, `max_tokens`, `stop`, `seed`, `extra_body` and `headers`: they are not sent.
`schema` goes by `--output-schema` in the strict form the service wants, or in words where strict mode cannot say it;
`json_mode` in words. The answer is checked by the router, as with every provider.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lee_llm_router._util.scrubbing import bounded, scrub
from lee_llm_router.errors import (
    InvalidResponseError,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    error_of,
)
from lee_llm_router.providers.base import Capabilities, Effects, Provider, ProviderConfig, read_key
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, cancellable
from lee_llm_router.providers.child_process.runner import ChildResult, run_child
from lee_llm_router.providers.codex_cli.command import Exec, build_argv, child_environment, parse_flags
from lee_llm_router.providers.codex_cli.events import CodexTurn
from lee_llm_router.providers.codex_cli.failures import classify
from lee_llm_router.providers.codex_cli.home import (
    AUTH_FILE,
    Rooms,
    lent_login,
    login_secrets,
    private_rooms,
    user_home,
)
from lee_llm_router.providers.codex_cli.prompt import render_instructions, render_prompt
from lee_llm_router.providers.json_schema import json_schema_of, strict_schema
from lee_llm_router.response import LLMRequest, LLMResponse
from lee_llm_router.settings.fields import BaseUrl, EnvName, Integer, Number

KEY_VARIABLE = "LEE_LLM_ROUTER_CODEX_KEY"
"""The variable a key for `base_url` has in the child, whatever its name here."""
SERVICE_KEY_VARIABLE = "CODEX_API_KEY"
"""The variable codex reads a key for the real service from (it does not read OPENAI_API_KEY)."""
VERSION_TIMEOUT = 15.0
"""Seconds the doctor waits for `codex --version`."""

# Flags by executable, with what changes when it is replaced. Two threads may look at once: they find the same.
_flags: dict[tuple[str, int, int, int], frozenset[str]] = {}


def _config_keys(value: dict[str, Any]) -> dict[str, Any]:
    for key, one in value.items():
        if not key or "=" in key or not key.isprintable() or key.startswith("-"):
            what = "a key is a dotted path of codex's configuration, like model_verbosity"
            raise PydanticCustomError("wanted_config_key", what)
        if one is None:
            raise PydanticCustomError("wanted_value", "TOML, codex's configuration language, has no null")
    return value


class CodexCLIConfig(ProviderConfig):
    """Settings of a `codex_cli` provider."""

    type: str = Field("codex_cli", description="codex_cli")
    command: str = Field("codex", min_length=1, description="The program: a name on PATH, or a path.")
    base_url: BaseUrl | None = Field(
        None, description="Address of a server with a Responses API, up to and with /v1. Default: OpenAI's service."
    )
    api_key_env: EnvName | None = Field(
        None,
        description="Environment variable that holds the key. Default: none for a base_url, else codex's login.",
    )
    agent: bool = Field(
        False, description="Give the model codex's tools: it may then read the disk, run commands and change files."
    )
    sandbox: Literal["read-only", "workspace-write", "danger-full-access"] = Field(
        "read-only", description="What an agent's commands may do."
    )
    workspace: str | None = Field(
        None, min_length=1, description="Folder codex works in. Default: an empty one, for each attempt."
    )
    codex_home: str | None = Field(
        None,
        min_length=1,
        description="Codex home to use as it is, AGENTS.md included. Default: a private one with your login alone.",
    )
    env: tuple[EnvName, ...] = Field(
        (), description="Further environment variables to pass on, by name (a few harmless ones always are)."
    )
    reasoning_effort: str | None = Field(
        None, min_length=1, description="How much to think where the call does not say: low, medium, high..."
    )
    extra_config: Annotated[dict[str, Any], AfterValidator(_config_keys)] = Field(
        default_factory=dict,
        description="Further settings of codex, by dotted path. They are visible in the list of processes.",
    )
    term_grace: Number = Field(
        2.0, ge=0, description="Seconds before the timeout at which codex is asked to end, before it is killed."
    )
    max_output_bytes: Annotated[Integer, Field(ge=1024)] = Field(
        1 << 25, description="Bytes codex may print; more is a failure. Default 32 MiB."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Time:
    """What an attempt has left."""

    total: float
    deadline: float
    cancel: CancelSwitch | None

    @property
    def left(self) -> float:
        return max(0.0, self.deadline - monotonic())


class CodexCLIProvider(Provider[CodexCLIConfig]):
    """Runs `codex exec` once an attempt. Holds nothing between attempts."""

    config_model: ClassVar[type[ProviderConfig]] = CodexCLIConfig
    capabilities: ClassVar[Capabilities] = Capabilities(bounded=True)

    @property
    def effects(self) -> Effects:
        """`workspace` for an agent; a completion changes nothing."""
        return "workspace" if self.config.agent else "none"

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Run codex once. See `Provider.complete`."""
        return self._guarded(request, timeout, None)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Run codex once. A cancellation kills it, waits until nothing of it is left, and is re-raised."""
        return await cancellable(lambda switch: self._guarded(request, timeout, switch))

    def secrets(self) -> Iterable[str]:
        """The key, or the tokens of the login that is lent to codex, and what the settings took from variables."""
        yield from super().secrets()
        name = self.config.api_key_env
        key = os.environ.get(name, "").strip() if name else ""
        if key:
            yield key
        if self._uses_login:
            yield from login_secrets(self._login_home)

    def check(self) -> Iterable[tuple[Literal["ok", "warning", "error"], str]]:
        """Whether the program, its login or key, and its folders are there."""
        yield from self._check_program()
        name = self.config.api_key_env
        if name is not None:
            found = bool(os.environ.get(name, "").strip())
            yield ("ok", f"{name} is set") if found else ("error", f"environment variable {name} is not set")
        elif self._uses_login:
            login = self._login_home / AUTH_FILE
            hint = f"{login} does not exist: run `codex login`, or set api_key_env"
            # A given home may keep its login in the system's keyring, where it cannot be seen from here.
            level: Literal["warning", "error"] = "warning" if self.config.codex_home else "error"
            yield ("ok", f"logged in by {login}") if login.is_file() else (level, hint)
        for setting in ("workspace", "codex_home"):
            folder = getattr(self.config, setting)
            if folder is not None and not Path(folder).expanduser().is_dir():
                yield "error", f"{setting} {folder} is not a folder"

    def _check_program(self) -> Iterator[tuple[Literal["ok", "error"], str]]:
        said: list[bytes] = []
        try:
            executable = self._executable()
            with private_rooms() as rooms:
                finished = run_child(
                    [executable, "--version"], env=self._environment(rooms, None), cwd=rooms.work,
                    timeout=VERSION_TIMEOUT, max_output=1 << 16, on_line=said.append,
                )  # fmt: skip
        except LLMRouterError as error:
            yield "error", error.message
            return
        version = bounded(b" ".join(said).decode(errors="replace"), 80)
        if finished.returncode == 0 and version:
            yield "ok", f"{executable}: {version}"
        else:
            yield "error", f"{executable} --version gave no version (exit {finished.returncode})"

    @property
    def _uses_login(self) -> bool:
        return self.config.base_url is None and self.config.api_key_env is None

    @property
    def _login_home(self) -> Path:
        given = self.config.codex_home
        return Path(given).expanduser() if given else user_home(os.environ)

    def _guarded(self, request: LLMRequest, timeout: float, cancel: CancelSwitch | None) -> LLMResponse:
        """One attempt; what it raises is named, free of secrets and bounded."""
        model = request.model or self.config.model
        time = _Time(total=timeout, deadline=monotonic() + timeout, cancel=cancel)
        secrets = list(self.secrets())
        try:
            return self._attempt(request, model, time, secrets)
        except LLMRouterError as error:
            error.provider, error.model = self.name, model
            error.args = (bounded(scrub(error.message, secrets)),)
            raise

    def _attempt(self, request: LLMRequest, model: str | None, time: _Time, secrets: list[str]) -> LLMResponse:
        prompt = render_prompt(request).encode()
        name = self.config.api_key_env
        key = read_key(name, self.name) if name else None
        turn = CodexTurn()
        asked = False
        try:
            executable = self._executable()
            with self._rooms() as rooms:
                env = self._environment(rooms, key)
                flags = self._known_flags(executable, env, rooms, time)
                settings, extra_bytes = self._exec(
                    request, model=model, executable=executable, flags=flags, rooms=rooms, time=time
                )
                # From here on an OSError says nothing of what codex did: a start that fails has an error of its own.
                asked = True
                finished = run_child(
                    build_argv(settings), stdin=prompt, env=env, cwd=settings.folder, timeout=time.left,
                    grace=self.config.term_grace, max_output=self.config.max_output_bytes, on_line=turn.feed,
                    cancel=time.cancel,
                )  # fmt: skip
                # A login renewed on the way has tokens nobody knew before.
                secrets += login_secrets(Path(env["CODEX_HOME"]))
        except OSError as error:
            what = f"codex could not be run: {error.strerror or type(error).__name__}"
            raise ProviderError(what, sent=asked) from error
        answer = turn.answer(finished.returncode, len(prompt) + extra_bytes)
        if answer is None:
            raise self._failure(turn, finished, time)
        return answer

    @contextmanager
    def _rooms(self) -> Iterator[Rooms]:
        with ExitStack() as stack:
            rooms = stack.enter_context(private_rooms())
            if self._uses_login and self.config.codex_home is None:
                stack.enter_context(lent_login(self._login_home, rooms.codex))
            yield rooms

    def _exec(
        self, request: LLMRequest, *, model: str | None, executable: str, flags: frozenset[str] | None, rooms: Rooms,
        time: _Time,
    ) -> tuple[Exec, int]:  # fmt: skip
        """What decides the command line, its files written; and how many bytes of the request are in those files."""
        config = self.config
        schema = None if request.schema is None else strict_schema(json_schema_of(request.schema))
        by_flag = schema is not None and (flags is None or "--output-schema" in flags)
        # Other servers than OpenAI's may pass over the schema (llama.cpp does): the model is told of it as well.
        in_words = not by_flag or config.base_url is not None
        instructions = render_instructions(request, agent=config.agent, schema_in_words=in_words)
        settings = Exec(
            executable=executable,
            flags=flags,
            agent=config.agent,
            sandbox=config.sandbox,
            folder=Path(config.workspace).expanduser().absolute() if config.workspace else rooms.work,
            model=model,
            base_url=config.base_url,
            key_variable=KEY_VARIABLE if config.api_key_env else None,
            instructions=None if instructions is None else rooms.write("instructions.md", instructions),
            schema=rooms.write_json("schema.json", schema) if by_flag else None,
            reasoning_effort=request.reasoning_effort or config.reasoning_effort,
            # Never before our own: the timeout is the router's to keep.
            idle_timeout=time.total + 60,
            user_config=config.agent and config.codex_home is not None,
            extra=config.extra_config,
        )
        return settings, len((instructions or "").encode())

    def _environment(self, rooms: Rooms, key: str | None) -> dict[str, str]:
        given = self.config.codex_home
        own = {
            # Codex finds skills below HOME, and shells their start-up files: a completion gets neither.
            "HOME": os.environ.get("HOME") if self.config.agent else str(rooms.home),
            "CODEX_HOME": str(Path(given).expanduser().absolute() if given else rooms.codex),
            "TMPDIR": str(rooms.temp),
            KEY_VARIABLE if self.config.base_url else SERVICE_KEY_VARIABLE: key,
        }
        return child_environment(os.environ, self.config.env, own)

    def _executable(self) -> str:
        command = os.path.expanduser(self.config.command)  # noqa: PTH111 - Path would drop a leading "./"
        found = shutil.which(command)
        if found is None:
            where = "is no executable file" if os.sep in command else "was not found on PATH"
            raise ProviderError(f"the command {command} {where}", sent=False, final=True)
        return str(Path(found).absolute())

    def _known_flags(self, executable: str, env: dict[str, str], rooms: Rooms, time: _Time) -> frozenset[str] | None:
        """The flags of `codex exec`, looked up once for each executable; None where it names none."""
        stat = Path(executable).stat()
        key = (executable, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        known = _flags.get(key)
        if known is None:
            lines: list[bytes] = []
            finished = run_child(
                [executable, "exec", "--help"], env=env, cwd=rooms.work, timeout=time.left,
                grace=self.config.term_grace, max_output=1 << 20, on_line=lines.append, cancel=time.cancel,
            )  # fmt: skip
            if finished.end == "timeout":
                raise LLMTimeoutError(f"codex exec --help did not end within {time.total:g} s", sent=False)
            known = parse_flags(b"\n".join(lines).decode(errors="replace")) if finished.returncode == 0 else None
            if known is not None:
                _flags[key] = known
        return known

    def _failure(self, turn: CodexTurn, finished: ChildResult, time: _Time) -> LLMRouterError:
        received = None
        if turn.text or turn.usage:
            received = LLMResponse(text=turn.text, usage=turn.usage)
        if finished.end == "flood":
            limit = self.config.max_output_bytes
            return InvalidResponseError(f"codex printed more than {limit} bytes", sent=turn.started, response=received)
        if finished.end == "timeout" and turn.last_error is None:
            what = f"codex gave no whole answer within {time.total:g} s"
            return LLMTimeoutError(what, sent=turn.started, response=received)
        failure = classify(
            turn.last_error, finished.returncode, finished.stderr.decode(errors="replace"), self.clock.time()
        )
        return error_of(
            failure.failure_type, failure.message, status_code=failure.status_code, retry_after=failure.retry_after,
            final=failure.final, sent=turn.started, response=received,
        )  # fmt: skip
