"""The provider `gemini_cli`: runs Google's Gemini CLI for each attempt.

The options of a call go into a private settings.json, where gemini accepts the API's own fields: `temperature`,
`top_p`, `top_k`, `max_tokens`, `stop`, `seed`, penalties, `reasoning_effort`, and a `schema` that the service can
enforce. A completion gets no tools and none of gemini's instructions for agents.

`AgentProvider` has what any agent needs. Here are gemini's specifics: login and key, environment, settings, command
line (see also `settings`, `command`, `prompt`, `login`, `events` and `failures`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import ClassVar

from lee_llm_router._util.check_note import CheckNote
from lee_llm_router._util.home_paths import NoHomeError
from lee_llm_router._util.regular_files import read_regular_file
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
from lee_llm_router.providers.agents.base import INEXPRESSIBLE, AgentProvider
from lee_llm_router.providers.agents.checks import CheckLevel
from lee_llm_router.providers.agents.login import BorrowedLogin, borrowed_login, secrets_in_login
from lee_llm_router.providers.agents.run import AgentCommand, AgentRun
from lee_llm_router.providers.agents.time_budget import TimeBudget
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.child_process.lent_file import MAX_BYTES
from lee_llm_router.providers.gemini_cli.command import (
    EXPRESSED,
    NEEDED_FLAGS,
    OPTIONAL_FLAGS,
    RunOptions,
    build_argv,
    service_schema,
    settings_document,
)
from lee_llm_router.providers.gemini_cli.events import GeminiTurn
from lee_llm_router.providers.gemini_cli.login import ACCOUNT_FILE, GEMINI_LOGIN, LOGIN_FILE, no_login, user_folder
from lee_llm_router.providers.gemini_cli.prompt import guarded, render_instructions, render_prompt
from lee_llm_router.providers.gemini_cli.settings import GeminiCLIConfig
from lee_llm_router.providers.json_schema import json_schema_of
from lee_llm_router.response.types import LLMRequest

KEY_VARIABLE = "GEMINI_API_KEY"
"""The variable from which gemini reads a key."""
_SERVICE = "https://generativelanguage.googleapis.com"
_LOGIN_SERVICE = "https://cloudcode-pa.googleapis.com"


class GeminiCLIProvider(AgentProvider[GeminiCLIConfig]):
    """Runs `gemini` once per attempt. Keeps nothing between attempts."""

    config_model: ClassVar[type[ProviderConfig]] = GeminiCLIConfig
    inexpressible: ClassVar[Mapping[str, str]] = {
        option: reason for option, reason in INEXPRESSIBLE.items() if option not in EXPRESSED
    }
    title: ClassVar[str] = "gemini"
    needed_flags: ClassVar[frozenset[str]] = NEEDED_FLAGS
    optional_flags: ClassVar[frozenset[str]] = OPTIONAL_FLAGS
    key_variables: ClassVar[tuple[str, ...]] = (KEY_VARIABLE, "GOOGLE_API_KEY")
    token_variables: ClassVar[tuple[str, ...]] = ("GOOGLE_APPLICATION_CREDENTIALS",)

    def prompt(self, request: LLMRequest) -> str:
        """See `AgentProvider.prompt`."""
        return render_prompt(request)

    def own_environment(self, dirs: AttemptDirs, key: str | None) -> Mapping[str, str | None]:
        """See `AgentProvider.own_environment`."""
        return {
            # Shells find their start-up files in HOME. A completion needs none.
            "HOME": os.environ.get("HOME") if self.config.agent else str(dirs.home),
            "GEMINI_CLI_HOME": str(dirs.agent_home),
            "TMPDIR": str(dirs.temp),
            # One process, so that signals reach it.
            "GEMINI_CLI_NO_RELAUNCH": "true",
            "NO_BROWSER": "true",
            # Always set: gemini would take them from a .env above its folder.
            "GOOGLE_GEMINI_BASE_URL": self.config.base_url or _SERVICE,
            "CODE_ASSIST_ENDPOINT": os.environ.get("CODE_ASSIST_ENDPOINT") or _LOGIN_SERVICE,
            "GOOGLE_CLOUD_PROJECT": os.environ.get("GOOGLE_CLOUD_PROJECT") if self.uses_login else None,
            KEY_VARIABLE: key,
        }

    def new_turn(self, run: AgentRun) -> GeminiTurn:
        """See `AgentProvider.new_turn`."""
        return GeminiTurn(_record_of(run), len(run.prompt), agent=self.config.agent)

    def command(self, run: AgentRun) -> AgentCommand:
        """See `AgentProvider.command`."""
        config, request, dirs = self.config, run.request, run.dirs
        folder = config.origin.path(config.workspace).absolute() if config.workspace else dirs.work
        # With tools, only newer models accept a format for the answer: an agent is asked in words.
        in_words = request.schema is None or config.agent
        schema = None if in_words else service_schema(json_schema_of(request.schema))
        instructions = render_instructions(request, agent=config.agent, schema_in_words=schema is None)
        document = settings_document(
            request, model=run.model, agent=config.agent, login=self.uses_login,
            effort=request.reasoning_effort or config.reasoning_effort, schema=schema,
            extra=config.extra_settings,
        )  # fmt: skip
        _write_settings(dirs, document)
        options = RunOptions(
            executable=run.executable, flags=run.flags, approval=config.approval if config.agent else "default",
            record=_record_of(run), model=run.model,
        )  # fmt: skip
        prompt = guarded(run.prompt.decode(), folder).encode()
        system = {} if instructions is None else {"GEMINI_SYSTEM_MD": str(dirs.write("system.md", instructions))}
        size = len(prompt) + len((instructions or "").encode())
        return AgentCommand(argv=build_argv(options), stdin=prompt, folder=folder, request_bytes=size, env=system)

    def lend_login(self, dirs: AttemptDirs, budget: TimeBudget) -> AbstractContextManager[BorrowedLogin | None]:
        """See `AgentProvider.lend_login`."""
        if not self.uses_login:
            return nullcontext()
        try:
            source = user_folder(os.environ)
        except NoHomeError as error:
            raise AuthenticationError(no_login(error.strerror), sent=False) from None
        private = _private_folder(dirs)
        with suppress(OSError):
            (private / ACCOUNT_FILE).write_bytes(read_regular_file(source / ACCOUNT_FILE, MAX_BYTES))
        return borrowed_login(
            GEMINI_LOGIN,
            source / LOGIN_FILE,
            private / LOGIN_FILE,
            dirs.lent_note,
            budget=budget,
            now=self.clock.time(),
        )

    def login_secrets(self, dirs: AttemptDirs | None = None) -> Iterable[str]:
        """See `AgentProvider.login_secrets`."""
        folder = user_folder(os.environ) if dirs is None else dirs.agent_home / ".gemini"
        return secrets_in_login(folder / LOGIN_FILE)

    def check_login(self) -> Iterator[tuple[CheckLevel, str]]:
        """See `AgentProvider.check_login`."""
        try:
            login = user_folder(os.environ) / LOGIN_FILE
        except NoHomeError as error:
            yield CheckNote("error", no_login(error.strerror), "LLR513")
            return
        if login.is_file():
            yield CheckNote("ok", f"logged in by {login}", "LLR500")
        else:
            yield CheckNote("error", no_login(f"{login} does not exist"), "LLR513")

    def login_place(self) -> str | None:
        """See `AgentProvider.login_place`."""
        with suppress(NoHomeError):
            login = user_folder(os.environ) / LOGIN_FILE
            return str(login) if login.is_file() else None
        return None


def _private_folder(dirs: AttemptDirs) -> Path:
    folder = dirs.agent_home / ".gemini"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _write_settings(dirs: AttemptDirs, document: Mapping[str, object]) -> None:
    (_private_folder(dirs) / "settings.json").write_text(json.dumps(document), encoding="utf-8")
    # Gemini looks for a .env in its folder and above, and takes the first: anybody may own one above.
    (dirs.work / ".env").touch(mode=0o600)


def _record_of(run: AgentRun) -> Path:
    return run.dirs.root / "responses.jsonl"
