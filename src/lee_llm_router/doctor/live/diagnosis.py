"""Checks everything that serves the roles, concurrently: each server's list of models, and with consent one question
per target."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import scrub, text_of_exception
from lee_llm_router._util.threads import start_in_thread
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.live.call_probe import CallPlan, TargetCall, planned_calls
from lee_llm_router.doctor.live.server_probe import ServerProbe
from lee_llm_router.doctor.partial_config import PartialConfig, read_partly
from lee_llm_router.doctor.results import CheckResult, found
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers import registry
from lee_llm_router.providers.http.provider import HTTPProvider

DEFAULT_TIMEOUT = 15.0
"""Seconds that a server may take to respond."""
CALL_TIMEOUT = 120.0
"""Seconds that a target may take to answer a question."""
_AT_ONCE = 16
_SPARE = 30.0
"""Seconds beyond its limits after which a provider is abandoned."""

Job: TypeAlias = Callable[[], Sequence[CheckResult]]


@dataclass(frozen=True, slots=True)
class _Named:
    """A job, and what to report if it never ends."""

    subject: str
    run: Job


def diagnose_live(
    source: LLMConfig | str | os.PathLike[str] | Mapping[str, Any],
    role: str | None = None,
    *,
    call: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    agree: Callable[[CallPlan], bool] = lambda plan: True,  # noqa: ARG005
    on_progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> list[CheckResult]:
    """Ask everything that serves the roles whether it is reachable, accepts the key and offers the model.

    Args:
        source: A configuration, or anything `load_config` accepts.
        role: Ask only the targets of this role. Default: those of all.
        call: Also ask each target one small question, which may cost something.
        timeout: Seconds that a server may take to respond; a question has `CALL_TIMEOUT`, if that is more.
        agree: Called before the questions with how many there are and what they cost at most; False skips them.
        on_progress: Called after each response with how many have come, and how many there will be.

    Returns:
        The results, in the order of the file. They do not report mistakes in the file: `diagnose` does.
    """
    partial = read_partly(source)
    config = partial.config
    if config is None:
        return []
    targets = _targets(config, role)
    jobs = [_Named(name, _probe(partial, name, models, timeout)) for name, models in targets.items()]
    results: list[CheckResult] = []
    calls: list[TargetCall] = []
    if call:
        plan = planned_calls(config, [one for one in config.roles if role in (None, one)], max(timeout, CALL_TIMEOUT))
        results += plan.refused
        if plan.calls and agree(plan):
            calls = plan.calls
        else:
            results += [found("LLR932", one.name, "not asked: its cost was not agreed to") for one in plan.calls]
    jobs += [_Named(one.name, one.results) for one in calls]
    limit = (max(timeout, CALL_TIMEOUT) if calls else timeout * 4) + _SPARE
    return [*_all_at_once(jobs, limit, config, on_progress), *results]


def _targets(config: LLMConfig, role: str | None) -> dict[str, list[str | None]]:
    """Return the providers of the roles, each with the models that the roles use."""
    targets: dict[str, list[str | None]] = {}
    for name in config.roles:
        if role in (None, name):
            for entry in config.chain(name):
                models = targets.setdefault(entry.provider, [])
                if entry.model not in models:
                    models.append(entry.model)
    return targets


def _probe(partial: PartialConfig, name: str, models: Sequence[str | None], timeout: float) -> Job:
    return lambda: list(_results_of(partial, name, models, timeout))


def _results_of(
    partial: PartialConfig, name: str, models: Sequence[str | None], timeout: float
) -> Iterator[CheckResult]:
    assert partial.config is not None  # noqa: S101 - checked by the caller
    settings, at = partial.config.providers[name], partial.place(("providers", name))
    provider = registry.get(settings.type)(name, settings)
    try:
        if isinstance(provider, HTTPProvider):
            yield from ServerProbe(provider, models, timeout, at).results()
            return
        problem = next((text for level, text in provider.check() if level == "error"), None)
        if problem is not None:
            yield found("LLR919", name, scrub(problem, settings.filled_values()), at=at)
        else:
            what = "nothing to reach" if settings.type == "mock" else "everything it needs is here; --live=call asks it"
            yield found("LLR900", name, f"{settings.type}: {what}", at=at)
    finally:
        provider.close()


def _all_at_once(
    jobs: Sequence[_Named], limit: float, config: LLMConfig, on_progress: Callable[[int, int], None]
) -> list[CheckResult]:
    """Run `jobs`, several at once, and return their results in order. Abandon jobs that hang past `limit` seconds."""
    done: dict[int, Sequence[CheckResult]] = {}
    waiting, changed = deque(enumerate(jobs)), threading.Condition()

    def work() -> None:
        while True:
            with changed:
                if not waiting:
                    return
                index, job = waiting.popleft()
            outcome = _outcome(job, config)
            with changed:
                done[index] = outcome
                changed.notify_all()

    for _ in range(min(_AT_ONCE, len(jobs))):
        start_in_thread(work)
    rounds = -(-len(jobs) // _AT_ONCE)
    with changed:
        while len(done) < len(jobs):
            on_progress(len(done), len(jobs))
            known = len(done)
            if not changed.wait_for(lambda: len(done) > known, limit * rounds):  # noqa: B023 - called within the round
                break
        waiting.clear()
        on_progress(len(done), len(jobs))
        late = f"no result within {limit:g} s"
        return [
            result for index, job in enumerate(jobs) for result in done.get(index, [found("LLR903", job.subject, late)])
        ]


def _outcome(job: _Named, config: LLMConfig) -> Sequence[CheckResult]:
    try:
        return job.run()
    except LLMRouterError as error:
        return [found("LLR919", job.subject, error.message)]
    except Exception as error:  # noqa: BLE001 - a provider of somebody else's may raise anything
        return [found("LLR501", job.subject, scrub(text_of_exception(error), config.filled_values()))]
