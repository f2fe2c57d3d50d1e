"""The provider `codex_cli`: runs OpenAI's Codex CLI (`codex exec`) for each attempt.

Each attempt starts the program once, in private folders that are removed afterwards. The prompt goes to standard input
and the key into the environment, so neither is visible on the command line.

Codex takes no `temperature`, `top_p`, `max_tokens`, `stop`, `seed`, `extra_body` or `headers`: they are not sent. A
`schema` goes to `--output-schema` in the strict form the service requires, or into the instructions where strict mode
cannot express it; `json_mode` goes into the instructions. As with every provider, the router checks the answer.

The class has two parts. The first is what any CLI agent needs: find the program and its flags, make private folders,
keep the deadline, run the child, and name the failure of a run that ended badly. It will become `AgentProvider` with
the second agent. The second part is codex's own: login and key, environment, command line, and what its output means
(see also `settings`, `command`, `prompt`, `login`, `events` and `failures`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import ClassVar, Literal, TypeAlias

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.home_paths import NoHomeError, expand_home
from lee_llm_router._util.scrubbing import bounded, quoted
from lee_llm_router.errors import (
    AuthenticationError,
    InvalidResponseError,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    error_for,
)
from lee_llm_router.providers.base import Capabilities, Effects, Provider, ProviderConfig
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, cancellable
from lee_llm_router.providers.child_process.runner import ChildResult, run_child
from lee_llm_router.providers.codex_cli.attempt_dirs import AttemptDirs, attempt_dirs
from lee_llm_router.providers.codex_cli.command import ExecOptions, build_argv, child_environment, parse_flags
from lee_llm_router.providers.codex_cli.events import CodexTurn
from lee_llm_router.providers.codex_cli.failures import classify
from lee_llm_router.providers.codex_cli.login import (
    AUTH_FILE,
    BorrowedLogin,
    borrowed_login,
    credentials_store,
    login_secrets,
    no_login,
    user_home,
)
from lee_llm_router.providers.codex_cli.prompt import render_instructions, render_prompt
from lee_llm_router.providers.codex_cli.settings import CodexCLIConfig
from lee_llm_router.providers.codex_cli.time_budget import TimeBudget
from lee_llm_router.providers.json_schema import json_schema_of, strict_schema
from lee_llm_router.providers.keys import KeySource
from lee_llm_router.response import UNREPORTED, LLMRequest, LLMResponse

KEY_VARIABLE = "LEE_LLM_ROUTER_CODEX_KEY"
"""The child's variable for the key of `base_url`, whatever the variable is called here."""
SERVICE_KEY_VARIABLE = "CODEX_API_KEY"
"""The variable from which codex reads a key for the real service (it does not read OPENAI_API_KEY)."""
VERSION_TIMEOUT = 15.0
"""Seconds the doctor waits for `codex --version`."""

_CheckLevel: TypeAlias = Literal["ok", "warning", "error"]
_ExecutableKey: TypeAlias = tuple[str, int, int, int]

# Known flags by executable; the key changes when the program is replaced. Two threads that look at once find the same.
_flags_by_executable: dict[_ExecutableKey, frozenset[str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """What to run: the command line, its input, and its working folder."""

    argv: list[str]
    stdin: bytes
    folder: Path
    request_bytes: int
    """Size of the request: the input, and the instructions that are in a file."""


class _OutdatedLoginError(Exception):
    """Codex's login was refused, and has been renewed by somebody else since it was lent."""


class CodexCLIProvider(Provider[CodexCLIConfig]):
    """Runs `codex exec` once for each attempt. Keeps nothing between attempts."""

    config_model: ClassVar[type[ProviderConfig]] = CodexCLIConfig
    capabilities: ClassVar[Capabilities] = Capabilities(bounded=True)

    def __init__(self, name: str, config: CodexCLIConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._key_source = KeySource(config, name)

    # What any CLI agent needs: this part becomes `AgentProvider`.

    @property
    def effects(self) -> Effects:
        """Return `workspace` for an agent; a plain completion changes nothing."""
        return "workspace" if self.config.agent else "none"

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Run the program once. See `Provider.complete`."""
        return self._complete(request, timeout, None)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Run the program once. A cancellation kills it, waits until everything is cleaned up, and is re-raised."""
        return await cancellable(lambda switch: self._complete(request, timeout, switch))

    def check(self) -> Iterable[tuple[_CheckLevel, str]]:
        """Check that the program, its login or key, and its folders exist."""
        yield from self._check_program()
        yield from self._check_login()
        for setting in ("workspace", "codex_home"):
            folder = getattr(self.config, setting)
            try:
                if folder is not None and not expand_home(folder).is_dir():
                    yield "error", f"{setting} {folder} is not a folder"
            except NoHomeError as error:
                yield "error", f"{setting} {folder}: {error.strerror}"

    def _check_program(self) -> Iterator[tuple[_CheckLevel, str]]:
        output: list[bytes] = []
        try:
            executable = self._executable()
            with attempt_dirs() as dirs:
                result = run_child(
                    [executable, "--version"], env=self._environment(dirs, None), cwd=dirs.work,
                    timeout=VERSION_TIMEOUT, max_output=1 << 16, on_line=output.append, watch=dirs.watch,
                )  # fmt: skip
        except LLMRouterError as error:
            yield "error", error.message
            return
        except NoHomeError:
            # Reported for the setting that needs a home.
            return
        version = bounded(b" ".join(output).decode(errors="replace"), 80)
        if result.returncode == 0 and version:
            yield "ok", f"{executable}: {version}"
        else:
            yield "error", f"{executable} --version gave no version (exit {result.returncode})"

    def _complete(self, request: LLMRequest, timeout: float, cancel: CancelSwitch | None) -> LLMResponse:
        """Make one attempt. Its errors name provider and model; their texts are scrubbed and bounded."""
        model = request.model or self.config.model
        budget = TimeBudget(total=timeout, deadline=monotonic() + timeout, cancel=cancel)
        secrets = list(self.secrets())
        try:
            return self._attempt(request, model, budget, secrets)
        except LLMRouterError as error:
            error.provider, error.model = self.name, model
            error.args = (quoted(error.message, secrets),)
            raise

    def _attempt(self, request: LLMRequest, model: str | None, budget: TimeBudget, secrets: list[str]) -> LLMResponse:
        with suppress(_OutdatedLoginError):
            return self._run_once(request, model, budget, secrets)
        return self._run_once(request, model, budget, secrets, may_repeat=False)

    def _run_once(
        self, request: LLMRequest, model: str | None, budget: TimeBudget, secrets: list[str], may_repeat: bool = True
    ) -> LLMResponse:
        """Run codex. With `may_repeat`, a refusal of a login that another has renewed is an `_OutdatedLoginError`."""
        prompt = render_prompt(request).encode()
        key = self._key_source.read()
        turn = CodexTurn()
        may_be_sent = False
        try:
            executable = self._executable()
            with self._dirs(budget) as (dirs, login):
                env = self._environment(dirs, key)
                flags = self._known_flags(executable, env, dirs, budget)
                command = self._command(
                    request, prompt, model=model, executable=executable, flags=flags, dirs=dirs, budget=budget
                )

                def on_line(line: bytes) -> None:
                    turn.feed(line)
                    if turn.acted and login is not None:
                        login.give_up_claim()

                # From here on an OSError does not say what codex did. A failed start raises an error that does.
                may_be_sent = True
                result = run_child(
                    command.argv, stdin=command.stdin, env=env, cwd=command.folder, timeout=budget.left,
                    grace=self.config.term_grace, max_output=self.config.max_output_bytes, on_line=on_line,
                    cancel=budget.cancel, watch=dirs.watch, is_whole=lambda: turn.completed,
                    meanwhile=None if login is None else login.look,
                )  # fmt: skip
                # If codex has renewed the login, its new tokens are secrets too.
                secrets += login_secrets(Path(env["CODEX_HOME"]))
                answer = turn.answer(result.returncode, command.request_bytes)
                if answer is not None:
                    return answer
                failure = self._failure(turn, result, budget)
                is_refusal = isinstance(failure, AuthenticationError) and not turn.acted
                if may_repeat and is_refusal and login is not None and login.is_outdated(budget):
                    raise _OutdatedLoginError
                raise failure
        except NoHomeError as error:
            raise ProviderError(f"{error.filename}: {error.strerror}", sent=False, final=True) from None
        except OSError as error:
            what = f"codex could not be run: {error.strerror or type(error).__name__}"
            raise ProviderError(what, sent=may_be_sent) from error

    def _executable(self) -> str:
        command = self.config.command
        with suppress(ValueError):
            command = os.path.expanduser(command)  # noqa: PTH111 - Path would drop a leading "./"
        found = shutil.which(command)
        if found is None:
            where = "is no executable file" if os.sep in command else "was not found on PATH"
            raise ProviderError(f"the command {command} {where}", sent=False, final=True)
        return str(Path(found).absolute())

    def _known_flags(
        self, executable: str, env: dict[str, str], dirs: AttemptDirs, budget: TimeBudget
    ) -> frozenset[str] | None:
        """Return the flags of `codex exec`, looked up once for each executable; None if its help names none."""
        stat = Path(executable).stat()
        key = (executable, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        known = _flags_by_executable.get(key)
        if known is None:
            lines: list[bytes] = []
            result = run_child(
                [executable, "exec", "--help"], env=env, cwd=dirs.work, timeout=budget.left,
                grace=self.config.term_grace, max_output=1 << 20, on_line=lines.append, cancel=budget.cancel,
                watch=dirs.watch,
            )  # fmt: skip
            if result.end == "timeout":
                raise LLMTimeoutError(f"codex exec --help did not end within {budget.total:g} s", sent=False)
            known = parse_flags(b"\n".join(lines).decode(errors="replace")) if result.returncode == 0 else None
            if known is not None:
                _flags_by_executable[key] = known
        return known

    def _failure(self, turn: CodexTurn, result: ChildResult, budget: TimeBudget) -> LLMRouterError:
        """Return the error for a run without an answer, by how the child ended."""
        received = None
        if turn.text or turn.usage:
            received = LLMResponse(text=turn.text, usage=turn.usage or UNREPORTED)
        if result.end == "flood":
            limit = self.config.max_output_bytes
            return InvalidResponseError(f"codex printed more than {limit} bytes", sent=turn.started, response=received)
        if result.end == "timeout" and turn.last_error is None:
            what = f"codex gave no whole answer within {budget.total:g} s"
            return LLMTimeoutError(what, sent=turn.started, response=received)
        failure = classify(
            turn.last_error, result.returncode, result.stderr.decode(errors="replace"), self.clock.time()
        )
        return error_for(
            failure.failure_type, failure.message, status_code=failure.status_code, retry_after=failure.retry_after,
            final=failure.final, sent=turn.started, response=received,
        )  # fmt: skip

    # Codex's own: login and key, folders, environment, command line.

    def secrets(self) -> Iterable[str]:
        """Return the key or the tokens of the borrowed login, and settings taken from environment variables."""
        yield from super().secrets()
        yield from self._key_source.known()
        if self._uses_login:
            with suppress(NoHomeError):
                yield from login_secrets(self._login_home)

    def _check_login(self) -> Iterator[tuple[_CheckLevel, str]]:
        if self._key_source.is_named:
            yield from self._key_source.check()
        elif self._uses_login:
            # The login of a configured home may be in the system's keyring, which cannot be looked into from here.
            level: _CheckLevel = "warning" if self.config.codex_home else "error"
            try:
                login = self._login_home / AUTH_FILE
            except NoHomeError as error:
                yield level, no_login(error.strerror)
                return
            found = login.is_file()
            yield ("ok", f"logged in by {login}") if found else (level, no_login(f"{login} does not exist"))

    @property
    def _uses_login(self) -> bool:
        return self.config.base_url is None and not self._key_source.is_named

    @property
    def _login_home(self) -> Path:
        configured = self.config.codex_home
        return expand_home(configured) if configured else user_home(os.environ)

    def _login_settings(self) -> dict[str, str]:
        return credentials_store(self._login_home) if self._uses_login and self.config.codex_home else {}

    @contextmanager
    def _dirs(self, budget: TimeBudget) -> Iterator[tuple[AttemptDirs, BorrowedLogin | None]]:
        """Create the folders of an attempt, with a copy of the login where codex needs one."""
        with ExitStack() as stack:
            dirs = stack.enter_context(attempt_dirs())
            login = None
            if self._uses_login and self.config.codex_home is None:
                try:
                    home = self._login_home
                except NoHomeError as error:
                    raise AuthenticationError(no_login(error.strerror), sent=False) from None
                now = self.clock.time()
                login = stack.enter_context(borrowed_login(home, dirs.agent_home, dirs.lent_note, budget, now))
            yield dirs, login

    def _environment(self, dirs: AttemptDirs, key: str | None) -> dict[str, str]:
        configured = self.config.codex_home
        own = {
            # Codex finds skills below HOME, and shells find their start-up files there. A completion needs neither.
            "HOME": os.environ.get("HOME") if self.config.agent else str(dirs.home),
            "CODEX_HOME": str(expand_home(configured).absolute() if configured else dirs.agent_home),
            "TMPDIR": str(dirs.temp),
            KEY_VARIABLE if self.config.base_url else SERVICE_KEY_VARIABLE: key,
        }
        return child_environment(os.environ, self.config.env, own, self.config.origin.variables)

    def _command(
        self, request: LLMRequest, prompt: bytes, *, model: str | None, executable: str, flags: frozenset[str] | None,
        dirs: AttemptDirs, budget: TimeBudget,
    ) -> _Command:  # fmt: skip
        """Return what to run for `request`; the files that the command line names are written."""
        config = self.config
        schema = None if request.schema is None else strict_schema(json_schema_of(request.schema))
        by_flag = schema is not None and (flags is None or "--output-schema" in flags)
        # A server other than OpenAI's may ignore the schema (llama.cpp does), so the instructions repeat it.
        in_words = not by_flag or config.base_url is not None
        instructions = render_instructions(request, agent=config.agent, schema_in_words=in_words)
        options = ExecOptions(
            executable=executable,
            flags=flags,
            agent=config.agent,
            sandbox=config.sandbox,
            folder=expand_home(config.workspace).absolute() if config.workspace else dirs.work,
            model=model,
            base_url=config.base_url,
            key_variable=KEY_VARIABLE if self._key_source.is_named else None,
            instructions=None if instructions is None else dirs.write("instructions.md", instructions),
            schema=dirs.write_json("schema.json", schema) if by_flag else None,
            reasoning_effort=request.reasoning_effort or config.reasoning_effort,
            # Longer than the attempt, so that the router's own timeout always comes first.
            idle_timeout=budget.total + 60,
            user_config=config.agent and config.codex_home is not None,
            extra={**self._login_settings(), **config.extra_config},
        )
        size = len(prompt) + len((instructions or "").encode())
        return _Command(argv=build_argv(options), stdin=prompt, folder=options.folder, request_bytes=size)
