"""The command `trace replay`: repeats a call's question elsewhere, and shows both answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lee_llm_router.cli.arguments import ConfigOption, JsonOption, check_role, roles_beginning_with, text_of
from lee_llm_router.cli.output import PROGRAM, say, write_json
from lee_llm_router.cli.trace.reading import FolderOption, IdArgument, find_call, named_config, trace_store

if TYPE_CHECKING:
    from pathlib import Path

    from lee_llm_router.cli.trace.comparison import Answered
    from lee_llm_router.cli.trace.replay_request import ReplayRequest
    from lee_llm_router.config.models import LLMConfig
    from lee_llm_router.response.types import LLMResponse
    from lee_llm_router.router import LeeLLMRouter
    from lee_llm_router.telemetry.calls import TracedCall
    from lee_llm_router.telemetry.settings import TraceConfig

_ROLE_OF_TARGETS = "default"
"""The only role of a router that is built from target names."""
_SHOWN_PROVIDERS = 20


def replay(
    wanted: IdArgument,
    *,
    role: Annotated[
        str | None,
        typer.Option(
            "--role", "-r", help="Ask this role. Default: the call's own.", autocompletion=roles_beginning_with
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Ask this provider/model: a provider of the configuration, else a vendor."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show long answers in full.")] = False,
    as_json: JsonOption = False,
    folder: FolderOption = None,
    config: ConfigOption = None,
) -> None:
    """Repeat a call's question elsewhere, and show both answers with their time, tokens and cost.

    The question must have been captured: `trace: {capture: full}`. It is asked with the same tools and settings,
    without options that the other model cannot express. Tool calls are shown, but not run.
    """
    from lee_llm_router.cli.trace.comparison import comparison_data, render_comparison  # noqa: PLC0415
    from lee_llm_router.cli.trace.content import ContentStyle  # noqa: PLC0415 - help draws nothing
    from lee_llm_router.cli.trace.screen import draw, is_piped, takes_marks  # noqa: PLC0415

    role, target = text_of(role, "--role"), text_of(target, "--target")
    if role is not None and target is not None:
        raise typer.BadParameter("it cannot be combined with --role", param_hint="--target")
    call = find_call(trace_store(folder, config), wanted)
    before = _answered_before(call)
    now = _ask_again(call, role, target, config)
    if as_json:
        write_json(comparison_data(before, now), indent=2)
    else:
        style = ContentStyle(is_piped(), full, "─" if takes_marks() else "-")
        draw(lambda console: render_comparison(before, now, console, style))
    raise typer.Exit(now.error is not None)


def _ask_again(call: TracedCall, role: str | None, target: str | None, config: Path | None) -> Answered:
    from lee_llm_router.cli.trace.replay_request import CannotReplayError, replay_request  # noqa: PLC0415
    from lee_llm_router.errors import LLMRouterError  # noqa: PLC0415 - help asks nobody

    router, asked_role, trace = _router(call, role, target, named_config(config))
    with router:
        try:
            first = router.resolve(asked_role)[0].provider
        except LLMRouterError:  # the call reports it, and leaves a trace
            first = None
        try:
            request = replay_request(call, first)
        except CannotReplayError as problem:
            raise typer.BadParameter(f"this call cannot be asked again: {problem}", param_hint="ID") from None
        for note in request.notes:
            say(f"{PROGRAM}: {note}")
        if sys.stderr.isatty():
            say(f"asking {target or asked_role} ...")
        request.options["metadata"] = {**call.records[0].metadata, "replay_of": call.request_id}
        try:
            answer = _ask(router, asked_role, request)
        except LLMRouterError as error:
            return _failed(error)
    return _answered_now(answer, asked_role, trace if trace.enabled else None)


def _ask(router: LeeLLMRouter, role: str, request: ReplayRequest) -> LLMResponse:
    options: Any = request.options
    if not request.stream:
        return router.complete(role, request.messages, **options)
    with router.stream(role, request.messages, **options) as stream:
        for _ in stream:
            pass
    return stream.response


def _router(
    call: TracedCall, role: str | None, target: str | None, config: Path | None
) -> tuple[LeeLLMRouter, str, TraceConfig]:
    """Return the router to ask, the role to use, and where it writes its traces."""
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415 - as above
    from lee_llm_router.config.load import load_config  # noqa: PLC0415
    from lee_llm_router.errors import ConfigError  # noqa: PLC0415
    from lee_llm_router.router import LeeLLMRouter  # noqa: PLC0415

    try:
        path = find_config(config)
    except ConfigError:
        if target is None or config is not None:
            raise
        alone = LeeLLMRouter.of(target)
        return alone, _ROLE_OF_TARGETS, alone.config.trace
    loaded = load_config(path)
    check_role(role, loaded.roles)
    own = role or (call.role if call.role in loaded.roles else None)
    if target is None:
        if own is None:
            raise typer.BadParameter(f"the configuration has no role {call.role!r} any more; name one",
                                     param_hint="--role")  # fmt: skip
        return LeeLLMRouter(loaded), own, loaded.trace
    provider, _, model = target.partition("/")
    if provider not in loaded.providers:
        try:
            return LeeLLMRouter(_with_target_alone(loaded, target)), _ROLE_OF_TARGETS, loaded.trace
        except ConfigError as error:
            told = error.findings[0] if error.findings else error.message
            own_names = ", ".join(sorted(loaded.providers)[:_SHOWN_PROVIDERS])
            raise typer.BadParameter(f"{told}; the configuration has the providers {own_names}",
                                     param_hint="--target") from None  # fmt: skip
    return LeeLLMRouter(loaded, policy=_OneTarget(provider, model)), own or next(iter(loaded.roles)), loaded.trace


class _OneTarget:
    """A policy that chooses one target for every role."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model

    def choose(self, role: str, config: LLMConfig) -> Any:  # noqa: ARG002 - the same for all
        from lee_llm_router.policy.contract import ProviderChoice  # noqa: PLC0415 - help asks nobody

        overrides = {"model": self._model} if self._model else {}
        return ProviderChoice(self._provider, overrides, fallbacks=[], reason="named for a replay")


def _with_target_alone(config: LLMConfig, target: str) -> LLMConfig:
    """Return a configuration with one target by a vendor's name, and the settings of `config` for all calls."""
    from lee_llm_router.routing.named_targets import config_of_targets  # noqa: PLC0415 - as above

    held = {name: getattr(config, name) for name in ("trace", "pricing", "budget", "sinks")}
    return config_of_targets((target,), {}, {}).model_copy(update=held)


def _answered_before(call: TracedCall) -> Answered:
    from lee_llm_router.cli.trace.comparison import Answered  # noqa: PLC0415 - as above
    from lee_llm_router.cli.trace.content import answer_text  # noqa: PLC0415

    last = call.last
    error = None if call.answered_by is not None else last.error or last.failure_type or call.outcome
    return Answered(call, answer_text(last) if error is None else "", error)


def _answered_now(answer: LLMResponse, role: str, trace: TraceConfig | None) -> Answered:
    from lee_llm_router.cli.trace.comparison import Answered  # noqa: PLC0415 - as above
    from lee_llm_router.cli.trace.content import answer_text  # noqa: PLC0415
    from lee_llm_router.telemetry.calls import TracedCall  # noqa: PLC0415
    from lee_llm_router.telemetry.records import TraceReader, TraceRecord  # noqa: PLC0415
    from lee_llm_router.telemetry.stores.open import open_store  # noqa: PLC0415

    calls = tuple({"id": one.id, "name": one.name, "arguments": one.arguments} for one in answer.tool_calls)
    bare = TraceRecord(
        request_id=answer.request_id, attempt=0, role=role, provider=answer.provider, model=answer.model,
        started_at="", outcome="ok", verdict="return", finish_reason=answer.finish_reason,
        usage=answer.usage or None, cost_usd=answer.cost_usd, text=answer.text, tool_calls=calls or None,
    )  # fmt: skip
    store = None if trace is None else open_store(trace)
    found: list[TraceRecord] = store.find(answer.request_id) if isinstance(store, TraceReader) else []
    return Answered(TracedCall(tuple(found) or (bare,)), answer_text(bare))


def _failed(error: Any) -> Answered:
    from lee_llm_router.cli.trace.comparison import Answered  # noqa: PLC0415 - as above
    from lee_llm_router.telemetry.calls import TracedCall  # noqa: PLC0415
    from lee_llm_router.telemetry.records import TraceRecord  # noqa: PLC0415

    bare = TraceRecord(request_id=error.request_id or "?", attempt=None, role="?", started_at="", outcome="error",
                       verdict="raise", failure_type=str(error.failure_type), error=error.message)  # fmt: skip
    return Answered(TracedCall(tuple(error.attempts) or (bare,)), "", str(error.message))
