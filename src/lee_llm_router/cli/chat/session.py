"""A chat: reads messages, asks, shows answers, obeys commands. Each turn is stored as it happens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.counted_things import counted
from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.cli.asking.answers import AnswerPrinter, print_calls, summary, tell_cut
from lee_llm_router.cli.asking.call_progress import CallProgress
from lee_llm_router.cli.chat.history import Conversation, ConversationFile, turn_event
from lee_llm_router.cli.chat.input_lines import InputLines
from lee_llm_router.cli.output import PROGRAM, say, write_text
from lee_llm_router.errors import LLMRouterError

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter
    from lee_llm_router.telemetry.records import TraceRecord

COMMANDS: dict[str, str] = {
    "/role": "NAME: ask another role from now on; without a name: list the roles",
    "/retry": "ask the last question again and replace its answer",
    "/trace": "show which targets the last call asked, and how long each took",
    "/system": "TEXT: instructions from now on; without a text: show them; - for none",
    "/clear": "forget the conversation and start again",
    "/save": "FILE: write the conversation to a file, as Markdown or as JSON (.json)",
    "/help": "show this",
    "/exit": "end; so does Ctrl-D",
}
_HELP_ENDS = (
    'A line that ends with \\ continues in the next one, and so does everything between two lines of """.',
    "A message that begins with // is sent with one /. Ctrl-C stops an answer.",
)


class ChatSession:
    """One chat.

    Args:
        router: The router to ask; `progress` is one of its sinks.
        lines: The person's input.
        conversation: The conversation so far.
        file: Where to store it; None: nowhere.
        progress: Knows the current call.
        options: Options of every call.
        verbose: Whether to print a line about the target after each answer.
    """

    def __init__(
        self,
        router: LeeLLMRouter,
        lines: InputLines,
        conversation: Conversation,
        file: ConversationFile | None,
        progress: CallProgress,
        *,
        options: Mapping[str, Any],
        verbose: bool = False,
    ) -> None:
        self._router = router
        self._lines = lines
        lines.completer = self.complete
        self._said = conversation
        self._file = file
        self._progress = progress
        self._printer = AnswerPrinter(router, progress)
        self._options = dict(options)
        self._verbose = verbose
        self._failed: tuple[str, bool] | None = None
        """The last question, if it has no answer, and whether it should replace another one."""
        self._commands: dict[str, Callable[[str], None]] = {
            "/role": self._role,
            "/retry": self._retry,
            "/trace": self._trace,
            "/system": self._system,
            "/clear": self._clear,
            "/save": self._save,
            "/help": self._help,
        }

    def run(self) -> None:
        """Read and answer messages until there are no more."""
        while True:
            try:
                text = self._lines.read(f"{self._role_name()}> ")
            except EOFError:
                if self._lines.is_interactive:
                    say("")
                return
            except KeyboardInterrupt:
                if not self._lines.is_interactive:
                    raise
                say("\nCtrl-D or /exit ends the chat")
                continue
            word, _, rest = text.strip().partition(" ")
            if word in ("/exit", "/quit"):
                return
            if text.startswith("/") and not text.startswith("//"):
                self._command(word, rest.strip())
            elif text.strip():
                self.ask(text[1:] if text.startswith("//") else text)

    def ask(self, text: str, *, again: bool = False) -> None:
        """Ask, show the answer, and store both; with `again`, replacing the last turn once there is an answer."""
        question = {"role": "user", "content": text}
        before = Conversation(system=self._said.system, turns=self._said.turns[:-1] if again else self._said.turns)
        self._failed = text, again
        try:
            answer = self._printer.as_text(self._said.role, [*before.messages(), question], self._options)
        except KeyboardInterrupt:
            if not self._lines.is_interactive:
                raise
            self._stopped(question, again=again)
        except LLMRouterError as error:
            say(f"{PROGRAM}: {error}")
            if self._lines.is_interactive:
                say("/retry asks again")
        else:
            print_calls(answer)
            tell_cut(answer)
            self._keep([question, answer.message], again=again, call=answer.request_id)
            if self._verbose:
                say(summary(answer, self._printer, self._progress))

    def keep(self, *events: Mapping[str, Any]) -> None:
        """Write `events` to the chat's file; if that fails, give the file up and continue the chat."""
        if self._file is None or not events:
            return
        try:
            self._file.append(*events)
        except OSError as error:
            say(f"{PROGRAM}: this chat is no longer kept: {self._file.path}: {error.strerror}")
            self._file = None

    def _stopped(self, question: dict[str, Any], *, again: bool) -> None:
        """Store the part of an answer that was seen before Ctrl-C: the next message may refer to it."""
        part = self._printer.text
        if part.strip():
            turn = [question, {"role": "assistant", "content": part}]
            self._keep(turn, again=again, call=self._progress.request_id, cut=True)
            say("stopped: the part of the answer that arrived is kept, and /retry asks again")
        else:
            say("\nstopped: /retry asks again")

    def _keep(self, turn: list[dict[str, Any]], *, again: bool, **more: Any) -> None:
        self._failed = None
        events = [*([{"event": "undo"}] if again else []), turn_event(turn, **more)]
        for event in events:
            self._said.apply(event)
        self.keep(*events)

    # --- commands ---

    def complete(self, line: str) -> list[str]:
        """Return completions for the beginning of a line: commands, and roles after /role."""
        word, space, rest = line.partition(" ")
        if not space:
            return [name for name in COMMANDS if line.startswith("/") and name.startswith(word)]
        return [f"/role {name}" for name in self._router.config.roles if word == "/role" and name.startswith(rest)]

    def _command(self, word: str, rest: str) -> None:
        command = self._commands.get(word)
        if command is None:
            hint = Suggester().did_you_mean(word, COMMANDS)
            say(f"no such command {word}{hint}; /help shows all; begin a message with // to send a /")
            return
        command(rest)

    def _role_name(self) -> str:
        return self._said.role or self._router.config.default_role or next(iter(self._router.config.roles))

    def _role(self, name: str) -> None:
        roles = self._router.config.roles
        if not name:
            say("\n".join(f"{'*' if role == self._role_name() else ' '} {role}" for role in roles))
        elif name in roles:
            self._said.role = name
            self.keep({"event": "role", "name": name})
        else:
            say(f"no such role {name!r:.80}{Suggester().did_you_mean(name, roles)}; /role shows all")

    def _retry(self, _: str) -> None:
        if self._failed is not None:
            text, again = self._failed
            self.ask(text, again=again)
        elif self._said.turns:
            self.ask(str(self._said.turns[-1][0]["content"]), again=True)
        else:
            say("nothing has been asked yet")

    def _trace(self, _: str) -> None:
        from lee_llm_router.cli.trace.screen import draw, takes_marks  # noqa: PLC0415 - few look
        from lee_llm_router.cli.trace.waterfall import ASCII_MARKS, render_waterfall  # noqa: PLC0415
        from lee_llm_router.telemetry.calls import TracedCall  # noqa: PLC0415
        from lee_llm_router.telemetry.records import TraceReader  # noqa: PLC0415

        store, call_id = self._router.trace_store, self._progress.request_id
        records: Sequence[TraceRecord] = store.find(call_id) if call_id and isinstance(store, TraceReader) else []
        if not records:
            say("nothing has been asked yet" if not call_id else "the call is not in the traces")
            return
        call, marks = TracedCall(tuple(records)), None if takes_marks() else ASCII_MARKS
        draw(lambda console: render_waterfall(call, console, marks))
        say(f"{PROGRAM} trace show {call_id} shows it in full")

    def _system(self, text: str) -> None:
        if not text:
            say(self._said.system or "no instructions")
            return
        self._said.system = None if text == "-" else text
        self.keep({"event": "system", "text": self._said.system})

    def _clear(self, _: str) -> None:
        self._failed = None
        if self._said.turns:
            self._said.turns.clear()
            self.keep({"event": "clear"})
        say("the conversation is forgotten here; the file of the chat still has it" if self._file else "forgotten")

    def _save(self, name: str) -> None:
        from lee_llm_router.cli.chat.saving import save  # noqa: PLC0415 - few save

        if not name:
            say("/save FILE: the file's name is missing")
            return
        try:
            path = Path(name).expanduser()
            save(path, self._said)
        except FileExistsError:
            say(f"{name} already exists: name another file")
        except (OSError, RuntimeError, ValueError) as error:
            say(f"{name} cannot be written: {getattr(error, 'strerror', None) or error}")
        else:
            say(f"saved to {path}")

    def _help(self, _: str) -> None:
        width = max(map(len, COMMANDS))
        lines = [f"{name.ljust(width)}  {meaning}" for name, meaning in COMMANDS.items()]
        say("\n".join([*lines, *_HELP_ENDS]))


def greeting(session_file: ConversationFile | None, conversation: Conversation) -> str:
    """Return a chat's greeting."""
    place = "" if session_file is None else f" {session_file.id}"
    turns = f", continuing after {counted(len(conversation.turns), 'turn')}" if conversation.turns else ""
    return f"chat{place}{turns}: /help shows the commands, Ctrl-D ends"


def show_last_turn(conversation: Conversation) -> None:
    """Print the last question and its answer, for continuing a conversation."""
    from lee_llm_router.cli.output import escaped  # noqa: PLC0415 - few go on

    if conversation.turns and sys.stdout.isatty():
        question, answer = conversation.turns[-1]
        write_text(escaped(f"> {question['content']}\n{answer.get('content') or ''}\n"))
