"""A router for the tests of applications. Its providers play scripts, offline and on a clock that takes no real time.

::

    router = ScriptedRouter(answers={"planner": ["First.", RateLimitError("slow down"), "Second."]})
    assert router.complete("planner", "Where do I begin?").text == "First."

Roles, chains, policies, retries, deadlines and traces are the real ones; only providers and time are simulated. With
pytest, the fixture `llm_router` of `lee_llm_router.pytest_plugin` makes such routers and closes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, Literal

from lee_llm_router._util.outside_collection import outside_collection
from lee_llm_router.compression import Compressor
from lee_llm_router.config.load import load_config
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.engine.steps import CallSteps
from lee_llm_router.policy.contract import RoutingPolicy
from lee_llm_router.providers.base import Provider
from lee_llm_router.response.types import LLMRequest
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.telemetry.following import AnyEventSink
from lee_llm_router.telemetry.records import TraceStore
from lee_llm_router.telemetry.reporter import TokenUsageHook
from lee_llm_router.testing.fake_clock import FakeClock
from lee_llm_router.testing.recorder import Recorder
from lee_llm_router.testing.scripts import Answers, Script, ScriptedProvider


class ScriptedRouter(LeeLLMRouter):
    """A `LeeLLMRouter` whose providers play scripts. Nothing is sent, waits take no real time, and jitter is fixed.

    Args:
        config: The application's own configuration, or anything `load_config` takes. Without one, every name in
            `answers` is a role with a provider of that name.
        answers: The answers of each provider, by its name. A provider without answers must not be called.
        trace_store: As for `LeeLLMRouter`; default: the `recorder`.
        event_sink: As for `LeeLLMRouter`; default: the `recorder`.
        random: As for `LeeLLMRouter`; default: always 0. All other arguments are those of `LeeLLMRouter`.

    Attributes:
        clock: The `FakeClock` it runs on.
        recorder: The `Recorder` of its traces and events, unless others are given.

    Raises:
        ConfigError: the configuration cannot be used.
        ValueError: `answers` names a provider that the configuration lacks, or contains something that cannot be
            played.
    """

    def __init__(
        self,
        config: LLMConfig | str | PathLike[str] | Mapping[str, Any] | None = None,
        *,
        answers: Mapping[str, Answers],
        policy: RoutingPolicy | str | None = None,
        trace_store: TraceStore | Literal[False] | None = None,
        event_sink: AnyEventSink | Iterable[AnyEventSink] | None = None,
        on_token_usage: TokenUsageHook | None = None,
        compression: Compressor | Mapping[str, Compressor] | None = None,
        trace_dir: str | PathLike[str] | None = None,
        workspace: str | PathLike[str] | None = None,
        wrap_provider: Callable[[Provider[Any]], Provider[Any]] | None = None,
        redact: Callable[[str], str] | None = None,
        random: Callable[[], float] = lambda: 0.0,
    ) -> None:
        loaded = config if isinstance(config, LLMConfig) else load_config(_roles(answers) if config is None else config)
        unknown = sorted(set(answers) - set(loaded.providers))
        if unknown:
            known = ", ".join(sorted(loaded.providers))
            raise ValueError(f"answers for {', '.join(unknown)}, but the providers are {known}")
        self.clock = FakeClock()
        self.recorder = Recorder()
        self._scripts = {name: Script(name, answers.get(name)) for name in loaded.providers}

        def scripted(real: Provider[Any]) -> Provider[Any]:
            # A provider that a reloaded file has added must not be called: it has no script.
            script = self._scripts.setdefault(real.name, Script(real.name, None))
            played = ScriptedProvider(real, self.clock, script)
            return played if wrap_provider is None else wrap_provider(played)

        super().__init__(
            loaded, policy=policy, trace_store=self.recorder if trace_store is None else trace_store,
            event_sink=self.recorder if event_sink is None else event_sink, on_token_usage=on_token_usage,
            compression=compression, trace_dir=trace_dir, workspace=workspace, wrap_provider=scripted,
            redact=redact, clock=self.clock, random=random,
        )  # fmt: skip

    def requests(self, provider: str) -> list[LLMRequest]:
        """Return the requests that `provider` received, in order."""
        return self._scripts[provider].requests

    def unused(self) -> dict[str, list[Any]]:
        """Return the outcomes that were not played, by provider; empty if all were played."""
        return {name: left for name, script in self._scripts.items() if (left := script.unused)}

    def unscripted(self) -> dict[str, list[LLMRequest]]:
        """Return the requests without a scripted answer, by provider; each has raised `UnscriptedCallError`."""
        return {name: asked for name, script in self._scripts.items() if (asked := script.unscripted)}

    def _steps(self, *args: Any, **options: Any) -> CallSteps:
        self.clock.hold()
        try:
            return (yield from super()._steps(*args, **options))
        finally:
            outside_collection(self.clock.release)


def _roles(answers: Mapping[str, Answers]) -> dict[str, Any]:
    names = list(answers)
    return {
        "llm": {
            "default_role": names[0] if names else None,
            "providers": {name: {"type": "mock"} for name in names},
            "roles": {name: {"provider": name} for name in names},
        }
    }
