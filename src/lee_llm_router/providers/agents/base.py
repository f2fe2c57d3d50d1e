"""`AgentProvider`: uses a coding agent as a model, by running its command line once per attempt.

How this works
--------------

Each agent is a subclass that defines its specifics. What all agents need is here:

1. **Ask.** `prompt` renders the request, or refuses it, before anything starts. The prompt goes to standard input,
   never onto the command line. The key is the one that the settings name. A key that is merely in the environment is
   used only with `paid_ok`: otherwise users of a subscription would get a bill they did not ask for.
2. **Find.** `config.program` names the program. Its help lists its flags, which are read once per program (`programs`).
3. **Folders.** An attempt gets private folders: a home, the agent's own home, a temporary and an empty working folder.
   They are removed afterwards, even if this process is killed (`attempt_dirs`). `lend_login` puts a copy of the user's
   login there and keeps it if the agent renews it (`login`).
4. **Environment.** The variables of `own_environment` and those listed in `environment`; no others.
5. **Run.** `command` says what to run, and `new_turn` makes the reader of its output: each line goes to
   `AgentTurn.feed` as it arrives, and its result goes to a streamed answer (`stream`). The child has its own process
   group, ends in time with all its descendants, and may print only a limited amount (`child_process.runner`).
6. **Judge.** `AgentTurn.answer` returns the answer if it is complete. Otherwise the run is a flood, a timeout, or the
   `AgentTurn.failure`. If the service refused a login that another attempt has renewed, the run is repeated once.

Every error names provider and model; its text is scrubbed and limited in size. Nothing is kept between attempts.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import ClassVar, TypeVar

from lee_llm_router._util.check_note import CheckNote
from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router._util.scrubbing import quoted
from lee_llm_router.errors import (
    AuthenticationError,
    InvalidResponseError,
    LLMRouterError,
    LLMTimeoutError,
    ProviderError,
    error_for,
)
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs, attempt_dirs
from lee_llm_router.providers.agents.checks import CheckLevel, check_program
from lee_llm_router.providers.agents.environment import child_environment
from lee_llm_router.providers.agents.login import BorrowedLogin
from lee_llm_router.providers.agents.programs import find_program, known_flags
from lee_llm_router.providers.agents.run import AgentCommand, AgentRun
from lee_llm_router.providers.agents.settings import AgentConfig, ProgramConfig
from lee_llm_router.providers.agents.stream import AgentStream
from lee_llm_router.providers.agents.time_budget import TimeBudget
from lee_llm_router.providers.agents.turn import AgentTurn
from lee_llm_router.providers.base import Capabilities, Effects, Provider, ProviderConfig, checked_key
from lee_llm_router.providers.child_process.cancellation import CancelSwitch, cancellable
from lee_llm_router.providers.child_process.runner import ChildResult, run_child
from lee_llm_router.providers.keys import KeySource
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response.types import LLMRequest, LLMResponse
from lee_llm_router.telemetry.outgoing_headers import variables_along

LONGEST_STREAM = 86_400.0
"""Seconds that a streamed run may take. The consumer enforces shorter limits, and ends the run by closing the
stream."""
_NO_OPTION = "the agent's command line has no option for it"
_NO_BODY = "the agent makes its own requests"
INEXPRESSIBLE: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(
        ("temperature", "top_p", "top_k", "max_tokens", "stop", "seed", "frequency_penalty", "presence_penalty",
         "logprobs", "top_logprobs", "service_tier"), _NO_OPTION,
    ),
    **dict.fromkeys(("extra_body", "extra_query", "headers"), _NO_BODY),
})  # fmt: skip
"""What no agent can express by default."""

AgentSettingsT = TypeVar("AgentSettingsT", bound=ProgramConfig)


class _TurnOverError(Exception):
    """The turn is over, even if the program still runs: end it."""


class _OutdatedLoginError(Exception):
    """The agent's login was refused, and somebody else has renewed it since it was lent."""


class AgentProvider(Provider[AgentSettingsT]):
    """Runs an agent once per attempt. Base of all CLI agents."""

    config_model: ClassVar[type[ProviderConfig]] = AgentConfig
    capabilities: ClassVar[Capabilities] = Capabilities(bounded=True, hedged=False)
    inexpressible: ClassVar[Mapping[str, str]] = INEXPRESSIBLE

    title: ClassVar[str]
    """The agent's name in messages."""
    help_words: ClassVar[tuple[str, ...]] = ("--help",)
    """Arguments that make the program print its flags; empty: it has none, and all flags are passed."""
    version_words: ClassVar[tuple[str, ...]] = ("--version",)
    """Arguments that make the program print its version; empty: it has none."""
    needed_flags: ClassVar[frozenset[str]] = frozenset()
    """Flags that are always passed, because a promise depends on them: a program that lacks one refuses to run."""
    optional_flags: ClassVar[frozenset[str]] = frozenset()
    """Flags that are left out if the program does not support them."""
    key_variables: ClassVar[tuple[str, ...]] = ()
    """Variables with the key of the agent's service, the preferred one first. See `paid_ok`."""
    token_variables: ClassVar[tuple[str, ...]] = ()
    """Other variables by which its service would bill; they are not passed on next to a login either."""
    folder_settings: ClassVar[tuple[str, ...]] = ("workspace",)
    """Settings that name a folder, which must exist."""

    def __init__(self, name: str, config: AgentSettingsT, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._key_source = KeySource(config, name)

    # What an agent defines.

    @abstractmethod
    def prompt(self, request: LLMRequest) -> str:
        """Return the text for the program's standard input.

        Raises:
            LLMRouterError: the agent cannot handle the request. `sent` is False.
        """

    @abstractmethod
    def own_environment(self, dirs: AttemptDirs, key: str | None) -> Mapping[str, str | None]:
        """Return the variables that the agent needs (None: not set), including the key if it gets one."""

    @abstractmethod
    def command(self, run: AgentRun) -> AgentCommand:
        """Return what to run, after writing the files that the command line names."""

    @abstractmethod
    def new_turn(self, run: AgentRun) -> AgentTurn:
        """Return the reader of a run's output."""

    @property
    def uses_login(self) -> bool:
        """Whether the agent uses its vendor's service with its own login: no key is named, no found key is allowed."""
        return self.is_own_service and not self._key_source.is_named and self.found_key is None

    @property
    def is_own_service(self) -> bool:
        """Whether the agent uses its vendor's service, and no other server."""
        return getattr(self.config, "base_url", None) is None

    @property
    def found_key(self) -> str | None:
        """The variable whose key is used although the settings do not name it; only with `paid_ok`."""
        if not getattr(self.config, "paid_ok", False) or self._key_source.is_named or not self.is_own_service:
            return None
        return next((name for name in self.key_variables if self.config.origin.variable(name)), None)

    def lend_login(self, dirs: AttemptDirs, budget: TimeBudget) -> AbstractContextManager[BorrowedLogin | None]:  # noqa: ARG002
        """Put a copy of the login in the private folders, if the agent needs one there."""
        return nullcontext()

    def login_secrets(self, dirs: AttemptDirs | None = None) -> Iterable[str]:  # noqa: ARG002
        """Return the secrets in the user's login, or in the one that a run has left in its private folders."""
        return ()

    def login_place(self) -> str | None:
        """Return where a login is, for the doctor; None if none is visible."""
        return None

    def check_login(self) -> Iterator[tuple[CheckLevel, str]]:
        """Check for the doctor whether there is a login. Called if `uses_login`."""
        yield from ()

    # What all agents share.

    @property
    def effects(self) -> Effects:
        """Return `workspace` for an agent; a plain completion changes nothing."""
        return "workspace" if getattr(self.config, "agent", False) else "none"

    @property
    def has_tools(self) -> bool:
        """Whether the program may start others, which are then searched for after each run."""
        return self.effects != "none"

    def secrets(self) -> Iterable[str]:
        """Return the key or the secrets in the login, and settings from environment variables."""
        yield from super().secrets()
        yield from self._key_source.known()
        if self.found_key is not None:
            yield self.config.origin.variable(self.found_key) or ""
        if self.uses_login:
            with suppress(NoHomeError):
                yield from self.login_secrets()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Run the program once. See `Provider.complete`."""
        return self._complete(request, timeout, None)

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Run the program once. A cancellation kills it, waits for the cleanup, and is re-raised."""
        return await cancellable(lambda switch: self._complete(request, timeout, switch))

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Run the program once, and return its answer as it arrives. See `Provider.stream`."""
        stream = AgentStream(partial(self._run_streamed, request))
        try:
            stream.open(timeout)
        except BaseException as error:
            stream.close()
            self._raise_if_late(error, stream, request, timeout)
            raise
        return stream

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`. A cancellation kills the program, waits for the cleanup, and is re-raised."""
        stream = AgentStream(partial(self._run_streamed, request))
        try:
            await stream.open_async(timeout)
        except BaseException as error:
            await stream.aclose()
            self._raise_if_late(error, stream, request, timeout)
            raise
        return stream

    def check(self) -> Iterable[tuple[CheckLevel, str]]:
        """Check that the program, its flags, its login or key, and its folders exist."""
        yield from check_program(
            self.config.program, lambda dirs: self._environment(dirs, None), version_words=self.version_words,
            help_words=self.help_words, needed_flags=self.needed_flags, optional_flags=self.optional_flags,
        )  # fmt: skip
        yield from self._check_access()
        for setting in self.folder_settings:
            folder = getattr(self.config, setting)
            try:
                if folder is not None and not self.config.origin.path(folder).is_dir():
                    yield CheckNote("error", f"{setting} {folder} is not a folder", "LLR514")
            except NoHomeError as error:
                yield CheckNote("error", f"{setting} {folder}: {error.strerror}", "LLR514")

    def _check_access(self) -> Iterator[tuple[CheckLevel, str]]:
        """Say whether there is a key or a login, and who pays if there are both."""
        login = self.login_place() if self.is_own_service else None
        if self._key_source.is_named:
            yield from self._key_source.check()
            if login is not None:
                what = self.config.api_key_env or self.config.api_key_file
                text = f"calls are billed to the key of {what}, not to the login ({login})"
                yield CheckNote("warning", text, "LLR515")
        elif self.found_key is not None:
            text = f"calls are billed to the key in {self.found_key}, which paid_ok allows"
            yield CheckNote("warning", text, "LLR515")
        elif self.uses_login:
            yield from self.check_login()
            for name in filter(self.config.origin.variable, self.key_variables):
                yield CheckNote("ok", f"{name} is set but not used: name it in api_key_env to pay with it", "LLR500")

    def _run_streamed(self, request: LLMRequest, stream: AgentStream, cancel: CancelSwitch) -> LLMResponse:
        return self._complete(request, LONGEST_STREAM, cancel, stream)

    def _raise_if_late(self, error: BaseException, stream: AgentStream, request: LLMRequest, timeout: float) -> None:
        """If `error` says that a run timed out, raise the failure that this means."""
        if isinstance(error, TimeoutError):
            budget = TimeBudget(total=timeout, deadline=0.0, cancel=None)
            end = ChildResult(returncode=None, end="timeout", stderr=b"")
            with self._naming(request, list(self.secrets())):
                if stream.turn is None:
                    raise LLMTimeoutError(f"{self.title} was not started within {timeout:g} s", sent=False) from None
                raise self._failure(stream.turn, end, budget) from None

    def _complete(
        self, request: LLMRequest, timeout: float, cancel: CancelSwitch | None, stream: AgentStream | None = None
    ) -> LLMResponse:
        """Make one attempt. With `stream`, the pieces of the answer go there as they arrive."""
        budget = TimeBudget(total=timeout, deadline=monotonic() + timeout, cancel=cancel)
        secrets = list(self.secrets())
        with self._naming(request, secrets):
            with suppress(_OutdatedLoginError):
                return self._run_once(request, budget, secrets, stream=stream)
            return self._run_once(request, budget, secrets, stream=stream, may_repeat=False)

    @contextmanager
    def _naming(self, request: LLMRequest, secrets: list[str]) -> Iterator[None]:
        """Make errors name provider and model; scrub and shorten their texts."""
        try:
            yield
        except LLMRouterError as error:
            error.provider, error.model = self.name, request.model or self.config.model
            error.args = (quoted(error.message, secrets),)
            raise

    def _run_once(
        self, request: LLMRequest, budget: TimeBudget, secrets: list[str], *, stream: AgentStream | None,
        may_repeat: bool = True,
    ) -> LLMResponse:  # fmt: skip
        """Run it. With `may_repeat`, raise `_OutdatedLoginError` if a login is refused that another attempt has
        renewed."""
        prompt = self.prompt(request).encode()
        key = self._key()
        may_be_sent = False
        try:
            program = find_program(self.config.program)
            with self._dirs(budget) as (dirs, login):
                env = self._environment(dirs, key)
                run = AgentRun(
                    request=request, model=request.model or self.config.model, prompt=prompt, key=key, dirs=dirs,
                    executable=program, timeout=budget.total,
                    flags=known_flags(program, self.help_words, env, dirs, budget),
                )  # fmt: skip
                command, turn = self.command(run), self.new_turn(run)
                if stream is not None:
                    stream.turn = turn
                # From here on an OSError does not tell what the agent did. A failed start raises an error that does.
                may_be_sent = True
                result = self._run_child(command, turn, env, dirs=dirs, budget=budget, login=login, stream=stream)
                # If the agent has renewed its login, the new tokens are secrets too.
                secrets += self.login_secrets(dirs)
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
            what = f"{self.title} could not be run: {error.strerror or type(error).__name__}"
            raise ProviderError(what, sent=may_be_sent) from error

    def _run_child(
        self, command: AgentCommand, turn: AgentTurn, env: dict[str, str], *, dirs: AttemptDirs, budget: TimeBudget,
        login: BorrowedLogin | None, stream: AgentStream | None,
    ) -> ChildResult:  # fmt: skip
        def on_line(line: bytes) -> None:
            chunk = turn.feed(line)
            if chunk is not None and stream is not None:
                stream.put(chunk)
            if turn.acted and login is not None:
                login.give_up_claim()
            if turn.over:
                raise _TurnOverError

        with suppress(_TurnOverError):
            return run_child(
                command.argv, stdin=command.stdin, env={**env, **command.env}, cwd=command.folder, timeout=budget.left,
                grace=self.config.term_grace, max_output=self.config.max_output_bytes, on_line=on_line,
                cancel=budget.cancel, watch=dirs.watch, is_whole=lambda: turn.completed,
                companion=login, has_tools=self.has_tools,
            )  # fmt: skip
        return ChildResult(returncode=None, end="exit", stderr=b"")

    def _failure(self, turn: AgentTurn, result: ChildResult, budget: TimeBudget) -> LLMRouterError:
        """Return the error for a run without an answer, depending on how the child ended."""
        received = turn.received
        if result.end == "flood":
            what = f"{self.title} printed more than {self.config.max_output_bytes} bytes"
            return InvalidResponseError(what, sent=turn.started, response=received)
        if result.end == "timeout" and not turn.has_failed:
            what = f"{self.title} gave no complete answer within {budget.total:g} s"
            return LLMTimeoutError(what, sent=turn.started, response=received)
        failure = turn.failure(result, self.clock.time())
        return error_for(
            failure.failure_type, failure.message, status_code=failure.status_code, retry_after=failure.retry_after,
            final=failure.final, sent=turn.started, response=received,
        )  # fmt: skip

    @contextmanager
    def _dirs(self, budget: TimeBudget) -> Iterator[tuple[AttemptDirs, BorrowedLogin | None]]:
        """Create the folders of an attempt, with a copy of the login if the agent needs one."""
        with ExitStack() as stack:
            dirs = stack.enter_context(attempt_dirs())
            yield dirs, stack.enter_context(self.lend_login(dirs, budget))

    def _environment(self, dirs: AttemptDirs, key: str | None) -> dict[str, str]:
        own = self.own_environment(dirs, key)
        # Passing a listed key on must not turn a login into a bill, nor replace the key that the settings name.
        barred = (*self.key_variables, *self.token_variables) if self.uses_login or key is not None else ()
        allowed = [name for name in self.config.env if name not in barred]
        return {**variables_along(), **child_environment(os.environ, allowed, own, self.config.origin.variables)}

    def _key(self) -> str | None:
        name = self.found_key
        if name is None:
            return self._key_source.read()
        return checked_key(f"environment variable {name}", self.config.origin.variable(name), self.name)
