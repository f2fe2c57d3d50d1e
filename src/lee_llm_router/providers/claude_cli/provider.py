"""The provider `claude_cli`: runs Claude Code (`claude -p`) for each attempt.

`AgentProvider` has what any agent needs. Here are claude's specifics: login and key, environment, command line (see
also `settings`, `command`, `prompt`, `login`, `events` and `failures`).

Claude itself renews the login in the user's home, under its own lock: `CLAUDE_SECURESTORAGE_CONFIG_DIR` names that
home. Versions that do not know the variable get a copy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from lee_llm_router._util.check_note import CheckNote
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.providers.agents.base import INEXPRESSIBLE, AgentProvider
from lee_llm_router.providers.agents.checks import CheckLevel
from lee_llm_router.providers.agents.login import BorrowedLogin, borrowed_login, secrets_in_login
from lee_llm_router.providers.agents.run import AgentCommand, AgentRun
from lee_llm_router.providers.agents.time_budget import TimeBudget
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.claude_cli.command import (
    NEEDED_FLAGS,
    OPTIONAL_FLAGS,
    PrintOptions,
    build_argv,
    run_variables,
)
from lee_llm_router.providers.claude_cli.events import ClaudeTurn
from lee_llm_router.providers.claude_cli.login import CLAUDE_LOGIN, LOGIN_FILE, TOKEN_VARIABLE, no_login, user_home
from lee_llm_router.providers.claude_cli.prompt import render_instructions, render_prompt
from lee_llm_router.providers.claude_cli.settings import ClaudeCLIConfig
from lee_llm_router.response.types import LLMRequest

KEY_VARIABLE = "ANTHROPIC_API_KEY"
CLOUD_PREFIX = "CLAUDE_CODE_USE_"
"""Prefix of the variables that make claude use a cloud (`CLAUDE_CODE_USE_BEDROCK`), which has its own keys."""
NO_KEY = "none"
"""The key for a server without one: claude sends no request without a key."""


class ClaudeCLIProvider(AgentProvider[ClaudeCLIConfig]):
    """Runs `claude -p` once per attempt. Keeps nothing between attempts."""

    config_model: ClassVar[type[ProviderConfig]] = ClaudeCLIConfig
    inexpressible: ClassVar[Mapping[str, str]] = MappingProxyType(
        {option: reason for option, reason in INEXPRESSIBLE.items() if option != "max_tokens"}
    )
    title: ClassVar[str] = "claude"
    needed_flags: ClassVar[frozenset[str]] = NEEDED_FLAGS
    optional_flags: ClassVar[frozenset[str]] = OPTIONAL_FLAGS
    key_variables: ClassVar[tuple[str, ...]] = (KEY_VARIABLE,)
    token_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_AUTH_TOKEN",)
    folder_settings: ClassVar[tuple[str, ...]] = ("workspace", "claude_home")

    def prompt(self, request: LLMRequest) -> str:
        """See `AgentProvider.prompt`."""
        return render_prompt(request)

    def own_environment(self, dirs: AttemptDirs, key: str | None) -> Mapping[str, str | None]:
        """See `AgentProvider.own_environment`."""
        base_url = self.config.base_url
        return {
            # Claude reads instructions and settings below HOME. A completion needs none.
            "HOME": os.environ.get("HOME") if self.config.agent or self._in_keychain else str(dirs.home),
            "CLAUDE_CONFIG_DIR": str(self._run_home(dirs)),
            "TMPDIR": str(dirs.temp),
            "CLAUDE_CODE_TMPDIR": str(dirs.temp),
            KEY_VARIABLE: NO_KEY if key is None and base_url is not None else key,
            "ANTHROPIC_BASE_URL": None if base_url is None else base_url.rstrip("/").removesuffix("/v1"),
            **(self._login_variables() if self.uses_login else {}),
        }

    def new_turn(self, run: AgentRun) -> ClaudeTurn:
        """See `AgentProvider.new_turn`."""
        return ClaudeTurn(agent=self.config.agent, is_billed=run.key is not None)

    def command(self, run: AgentRun) -> AgentCommand:
        """See `AgentProvider.command`."""
        config, request, dirs = self.config, run.request, run.dirs
        instructions = render_instructions(request, agent=config.agent)
        effort = request.reasoning_effort or config.reasoning_effort
        options = PrintOptions(
            executable=run.executable,
            flags=run.flags,
            tools=config.tools if config.agent else (),
            permission_mode=config.permission_mode if config.agent else "default",
            bare=not config.agent and not self.uses_login,
            user_config=config.agent and config.claude_home is not None,
            model=run.model,
            instructions=None if instructions is None else dirs.write("instructions.md", instructions),
            settings=dirs.write_json("settings.json", config.extra_config) if config.extra_config else None,
            effort=effort,
        )
        return AgentCommand(
            argv=build_argv(options),
            stdin=run.prompt,
            folder=config.origin.path(config.workspace).absolute() if config.workspace else dirs.work,
            request_bytes=len(run.prompt) + len((instructions or "").encode()),
            env=run_variables(agent=config.agent, timeout=run.timeout, max_tokens=request.max_tokens, effort=effort),
        )

    @property
    def is_own_service(self) -> bool:
        """Whether claude uses Anthropic's service: no other server, and no cloud that `env` switches to."""
        clouds = (name for name in self.config.env if name.startswith(CLOUD_PREFIX))
        return super().is_own_service and not any(map(self.config.origin.variable, clouds))

    def lend_login(self, dirs: AttemptDirs, budget: TimeBudget) -> AbstractContextManager[BorrowedLogin | None]:
        """See `AgentProvider.lend_login`."""
        if not self.uses_login or self.config.claude_home is not None or self._token or self._in_keychain:
            return nullcontext()
        try:
            original = self._login_home / LOGIN_FILE
        except NoHomeError as error:
            raise AuthenticationError(no_login(error.strerror), sent=False) from None
        copy = dirs.agent_home / LOGIN_FILE
        return borrowed_login(CLAUDE_LOGIN, original, copy, dirs.lent_note, budget=budget, now=self.clock.time())

    def login_secrets(self, dirs: AttemptDirs | None = None) -> Iterable[str]:
        """See `AgentProvider.login_secrets`."""
        if dirs is None and self._token:
            return (self._token,)
        home = self._login_home if dirs is None else self._run_home(dirs)
        return secrets_in_login(home / LOGIN_FILE)

    def check_login(self) -> Iterator[tuple[CheckLevel, str]]:
        """See `AgentProvider.check_login`."""
        place = self.login_place()
        if place is not None:
            yield CheckNote("ok", f"logged in by {place}", "LLR500")
        elif sys.platform == "darwin":
            yield CheckNote("ok", "the login, if there is one, is in the keychain", "LLR500")
        else:
            try:
                reason = f"{self._login_home / LOGIN_FILE} does not exist"
            except NoHomeError as error:
                reason = error.strerror or str(error)
            yield CheckNote("error", no_login(reason), "LLR513")

    def login_place(self) -> str | None:
        """See `AgentProvider.login_place`."""
        if self._token:
            return TOKEN_VARIABLE
        with suppress(NoHomeError):
            login = self._login_home / LOGIN_FILE
            return str(login) if login.is_file() else None
        return None

    @property
    def _token(self) -> str | None:
        """The login in a variable."""
        return self.config.origin.variable(TOKEN_VARIABLE)

    @property
    def _in_keychain(self) -> bool:
        """Whether the login can only be in the macOS keychain, which is found through the user's HOME."""
        return sys.platform == "darwin" and self.uses_login and self.login_place() is None

    @property
    def _login_home(self) -> Path:
        """The claude home that has the login."""
        configured = self.config.claude_home
        return self.config.origin.path(configured) if configured else user_home(os.environ)

    def _run_home(self, dirs: AttemptDirs) -> Path:
        """Return the claude home of a run."""
        configured = self.config.claude_home
        return self.config.origin.path(configured).absolute() if configured else dirs.agent_home

    def _login_variables(self) -> dict[str, str | None]:
        variables: dict[str, str | None] = {TOKEN_VARIABLE: self._token}
        if self._in_keychain:
            # Empty: the login that claude has if no home is named.
            return {**variables, "CLAUDE_SECURESTORAGE_CONFIG_DIR": os.environ.get("CLAUDE_CONFIG_DIR", "")}
        if not self._token:
            variables["CLAUDE_SECURESTORAGE_CONFIG_DIR"] = str(self._login_home.absolute())
        return variables
