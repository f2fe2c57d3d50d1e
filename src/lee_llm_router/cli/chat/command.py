"""The command `chat`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import ConfigOption, check_role, text_of
from lee_llm_router.cli.asking.options import (
    MaxTokensOption,
    ModelOption,
    RoleOption,
    SettingOption,
    SystemOption,
    TargetOption,
    TemperatureOption,
    call_options,
    check_targets,
    router_for,
)

if TYPE_CHECKING:
    from lee_llm_router.cli.chat.history import Conversation, ConversationFile
    from lee_llm_router.cli.chat.session import ChatSession
    from lee_llm_router.router import LeeLLMRouter

_FOLDER = Path(".lee-llm-router", "chats")
"""Next to the default folder of traces."""
_TYPED = "typed.history"


def chat(
    conversation: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Conversation to continue, with --continue. Default: the last.")
    ] = None,
    *,
    role: RoleOption = None,
    model: ModelOption = None,
    target: TargetOption = None,
    system: SystemOption = None,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    setting: SettingOption = None,
    goes_on: Annotated[bool, typer.Option("--continue", "-c", help="Continue a conversation.")] = False,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Keep messages and typed lines, for --continue.")
    ] = True,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print after each answer who gave it.")] = False,
    config: ConfigOption = None,
) -> None:
    """Talk to a role. Answers are shown as they arrive; /help shows the commands, Ctrl-C stops an answer.

    The conversation is stored in .lee-llm-router/chats, readable only by you. If a target fails, the next one
    continues.
    """
    from lee_llm_router.cli.asking.call_progress import CallProgress  # noqa: PLC0415
    from lee_llm_router.cli.chat.input_lines import InputLines, TypedLines  # noqa: PLC0415
    from lee_llm_router.cli.chat.session import ChatSession  # noqa: PLC0415
    from lee_llm_router.cli.progress import ProgressLine  # noqa: PLC0415

    wanted, role = text_of(conversation, "ID"), text_of(role, "--role")
    if wanted is not None and not goes_on:
        raise typer.BadParameter("it is only for --continue: messages are typed in the chat", param_hint="ID")
    check_targets(target, role, model, config)
    options = call_options(model=model, temperature=temperature, max_tokens=max_tokens, settings=setting)
    with ProgressLine() as line:
        line.hide()
        progress = CallProgress(line)
        with router_for(target, config, event_sink=progress) as router:
            check_role(role, router.config.roles)
            folder = router.config.trace.workspace_folder.absolute() / _FOLDER
            said, file, copied = _opened(folder, wanted, goes_on=goes_on, keeps=history)
            changes = _take_over(said, router, role, text_of(system, "--system"))
            lines = InputLines(TypedLines(folder / _TYPED if history else None))
            session = ChatSession(router, lines, said, file, progress, options=options, verbose=verbose)
            session.keep(*copied, *changes)
            try:
                _run(session, said, file, greets=lines.is_interactive)
            finally:
                if file is not None:
                    file.close()


def _run(session: ChatSession, said: Conversation, file: ConversationFile | None, *, greets: bool) -> None:
    """Chat until the end; with `greets`, first show the last turn and a line of help."""
    from lee_llm_router.cli.chat.session import greeting, show_last_turn  # noqa: PLC0415 - help needs none of it
    from lee_llm_router.cli.output import say  # noqa: PLC0415

    if greets:
        show_last_turn(said)
        say(greeting(file, said))
    session.run()


def _opened(
    folder: Path, wanted: str | None, *, goes_on: bool, keeps: bool
) -> tuple[Conversation, ConversationFile | None, list[dict[str, Any]]]:
    """Return the conversation, its file from now on, and the events to write there first."""
    from lee_llm_router.cli.chat.history import (  # noqa: PLC0415
        ChatHistory,
        Conversation,
        ConversationFile,
        HistoryError,
        events_of,
    )
    from lee_llm_router.cli.output import say  # noqa: PLC0415

    history = ChatHistory(folder)
    if not goes_on:
        return Conversation(), history.new_file() if keeps else None, []
    try:
        file = ConversationFile(history.find(wanted))
        said, is_alone = file.open()
    except HistoryError as error:
        raise typer.BadParameter(str(error), param_hint="--continue") from None
    if said.skipped:
        say(f"damaged lines of the conversation that were skipped: {said.skipped}")
    if is_alone and keeps:
        return said, file, []
    file.close()
    if not keeps:
        return said, None, []
    copy = history.new_file()
    say(f"the conversation {file.id} is open in another chat: this one continues in a copy")
    return said, copy, events_of(said)


def _take_over(said: Conversation, router: LeeLLMRouter, role: str | None, system: str | None) -> list[dict[str, Any]]:
    """Apply the command line and changes of the configuration to `said`; return the events."""
    events: list[dict[str, Any]] = []
    if role is not None or (said.role is not None and said.role not in router.config.roles):
        events.append({"event": "role", "name": role})
    if system is not None:
        events.append({"event": "system", "text": system})
    for event in events:
        said.apply(event)
    return events
