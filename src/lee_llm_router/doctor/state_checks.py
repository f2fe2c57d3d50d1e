"""The check of the shared state: whether it responds, in time."""

from __future__ import annotations

from collections.abc import Iterator

from lee_llm_router._util.clock import SYSTEM_CLOCK
from lee_llm_router._util.numbers import written_out
from lee_llm_router._util.scrubbing import quoted, text_of_exception
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.partial_config import PartialConfig
from lee_llm_router.doctor.results import CheckResult, found
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.shared.plugins import STATES
from lee_llm_router.health.shared.settings import StateSettings


def check_state(partial: PartialConfig, config: LLMConfig) -> Iterator[CheckResult]:
    """Yield whether the shared state responds; nothing if the file names none."""
    if config.state is None:
        return
    settings, at = config.state, partial.place(("state",))
    patience = settings.patience if isinstance(settings, StateSettings) else StateSettings(type=settings.type).patience
    try:
        state = STATES.build(settings, clock=SYSTEM_CLOCK)
    except ConfigError as error:
        yield found("LLR414", settings.type, error.message, at=at)
        return
    try:
        state.exchange([], [])  # connects
        began = SYSTEM_CLOCK.monotonic()
        state.exchange([], [])
        took = SYSTEM_CLOCK.monotonic() - began
    except Exception as error:  # noqa: BLE001 - whatever an implementation raises means that it does not answer
        yield found("LLR414", settings.type, quoted(text_of_exception(error), config.filled_values()), at=at)
    else:
        said = f"answers within {written_out(took * 1000, 2)} ms"
        if took > patience:
            said += f", but calls wait at most {written_out(patience * 1000, 2)} ms"
        yield found("LLR415" if took > patience else "LLR413", settings.type, said, at=at)
    finally:
        state.close()
