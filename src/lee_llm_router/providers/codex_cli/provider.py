"""The provider `codex_cli`: runs OpenAI's Codex CLI (`codex exec`) for each attempt.

A `schema` goes to `--output-schema` in the strict form that the service requires, or into the instructions if strict
mode cannot express it; `json_mode` goes into the instructions. As with every provider, the router checks the answer.

`AgentProvider` has what any agent needs. Here are codex's specifics: login and key, environment, command line (see also
`settings`, `command`, `prompt`, `login`, `events` and `failures`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import ClassVar

from lee_llm_router._util.check_note import CheckNote
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.agents import checks
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.providers.agents.base import AgentProvider
from lee_llm_router.providers.agents.checks import CheckLevel
from lee_llm_router.providers.agents.login import BorrowedLogin, borrowed_login
from lee_llm_router.providers.agents.run import AgentCommand, AgentRun
from lee_llm_router.providers.agents.time_budget import TimeBudget
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.codex_cli.command import NEEDED_FLAGS, OPTIONAL_FLAGS, ExecOptions, build_argv
from lee_llm_router.providers.codex_cli.events import CodexTurn
from lee_llm_router.providers.codex_cli.login import (
    AUTH_FILE,
    CODEX_LOGIN,
    credentials_store,
    login_secrets,
    no_login,
    user_home,
)
from lee_llm_router.providers.codex_cli.prompt import render_instructions, render_prompt
from lee_llm_router.providers.codex_cli.settings import CodexCLIConfig
from lee_llm_router.providers.json_schema import json_schema_of, strict_schema
from lee_llm_router.response.types import LLMRequest

KEY_VARIABLE = "LEE_LLM_ROUTER_CODEX_KEY"
"""The child's variable for the key of `base_url`, whatever its name in this process."""
SERVICE_KEY_VARIABLE = "CODEX_API_KEY"
"""The variable from which codex reads a key for the real service (it does not read OPENAI_API_KEY)."""
VERSION_TIMEOUT = checks.VERSION_TIMEOUT


class CodexCLIProvider(AgentProvider[CodexCLIConfig]):
    """Runs `codex exec` once per attempt. Keeps nothing between attempts."""

    config_model: ClassVar[type[ProviderConfig]] = CodexCLIConfig
    title: ClassVar[str] = "codex"
    help_words: ClassVar[tuple[str, ...]] = ("exec", "--help")
    needed_flags: ClassVar[frozenset[str]] = NEEDED_FLAGS
    optional_flags: ClassVar[frozenset[str]] = OPTIONAL_FLAGS
    key_variables: ClassVar[tuple[str, ...]] = (SERVICE_KEY_VARIABLE, "OPENAI_API_KEY")
    folder_settings: ClassVar[tuple[str, ...]] = ("workspace", "codex_home")

    def prompt(self, request: LLMRequest) -> str:
        """See `AgentProvider.prompt`."""
        return render_prompt(request)

    def own_environment(self, dirs: AttemptDirs, key: str | None) -> Mapping[str, str | None]:
        """See `AgentProvider.own_environment`."""
        return {
            # Codex finds skills below HOME, and shells find their start-up files there. A completion needs neither.
            "HOME": os.environ.get("HOME") if self.config.agent else str(dirs.home),
            "CODEX_HOME": str(self._run_home(dirs)),
            "CODEX_CA_CERTIFICATE": os.environ.get("CODEX_CA_CERTIFICATE"),
            "TMPDIR": str(dirs.temp),
            KEY_VARIABLE if self.config.base_url else SERVICE_KEY_VARIABLE: key,
        }

    def new_turn(self, run: AgentRun) -> CodexTurn:  # noqa: ARG002 - all runs print the same events
        """See `AgentProvider.new_turn`."""
        return CodexTurn()

    def command(self, run: AgentRun) -> AgentCommand:
        """See `AgentProvider.command`."""
        config, request, dirs = self.config, run.request, run.dirs
        schema = None if request.schema is None else strict_schema(json_schema_of(request.schema))
        by_flag = schema is not None and run.knows("--output-schema")
        # A server other than OpenAI's may ignore the schema (llama.cpp does), so the instructions repeat it.
        in_words = not by_flag or config.base_url is not None
        instructions = render_instructions(request, agent=config.agent, schema_in_words=in_words)
        options = ExecOptions(
            executable=run.executable,
            flags=run.flags,
            agent=config.agent,
            sandbox=config.sandbox,
            folder=config.origin.path(config.workspace).absolute() if config.workspace else dirs.work,
            model=run.model,
            base_url=config.base_url,
            key_variable=None if run.key is None else KEY_VARIABLE,
            instructions=None if instructions is None else dirs.write("instructions.md", instructions),
            schema=dirs.write_json("schema.json", schema) if by_flag else None,
            reasoning_effort=request.reasoning_effort or config.reasoning_effort,
            # Longer than the attempt, so that the router's own timeout comes first.
            idle_timeout=run.timeout + 60,
            user_config=config.agent and config.codex_home is not None,
            extra={**self._login_settings(), **config.extra_config},
        )
        size = len(run.prompt) + len((instructions or "").encode())
        return AgentCommand(argv=build_argv(options), stdin=run.prompt, folder=options.folder, request_bytes=size)

    def lend_login(self, dirs: AttemptDirs, budget: TimeBudget) -> AbstractContextManager[BorrowedLogin | None]:
        """See `AgentProvider.lend_login`."""
        if not self.uses_login or self.config.codex_home is not None:
            return nullcontext()
        try:
            original = self._login_home / AUTH_FILE
        except NoHomeError as error:
            raise AuthenticationError(no_login(error.strerror), sent=False) from None
        copy = dirs.agent_home / AUTH_FILE
        return borrowed_login(CODEX_LOGIN, original, copy, dirs.lent_note, budget=budget, now=self.clock.time())

    def login_secrets(self, dirs: AttemptDirs | None = None) -> Iterable[str]:
        """See `AgentProvider.login_secrets`."""
        return login_secrets(self._login_home if dirs is None else self._run_home(dirs))

    def check_login(self) -> Iterator[tuple[CheckLevel, str]]:
        """See `AgentProvider.check_login`."""
        # The login of a configured home may be in the system's keyring, which cannot be inspected from here.
        level: CheckLevel = "warning" if self.config.codex_home else "error"
        try:
            login = self._login_home / AUTH_FILE
        except NoHomeError as error:
            yield CheckNote(level, no_login(error.strerror), "LLR513")
            return
        if login.is_file():
            yield CheckNote("ok", f"logged in by {login}", "LLR500")
        else:
            yield CheckNote(level, no_login(f"{login} does not exist"), "LLR513")

    def login_place(self) -> str | None:
        """See `AgentProvider.login_place`."""
        with suppress(NoHomeError):
            login = self._login_home / AUTH_FILE
            return str(login) if login.is_file() else None
        return None

    @property
    def _login_home(self) -> Path:
        """The codex home that has the login."""
        configured = self.config.codex_home
        return self.config.origin.path(configured) if configured else user_home(os.environ)

    def _run_home(self, dirs: AttemptDirs) -> Path:
        """Return the codex home of a run."""
        configured = self.config.codex_home
        return self.config.origin.path(configured).absolute() if configured else dirs.agent_home

    def _login_settings(self) -> dict[str, str]:
        return credentials_store(self._login_home) if self.uses_login and self.config.codex_home else {}
