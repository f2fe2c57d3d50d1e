"""The fixtures of all tests: that which users get, and those that several folders share."""

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from helpers.drawn_examples import examples

pytest_plugins = [
    "lee_llm_router.pytest_plugin",
    "helpers.child_fixtures",
    "helpers.claude_fixtures",
    "helpers.codex_fixtures",
    "helpers.gemini_fixtures",
    "helpers.redis_fixtures",
]

# How long an input takes to make says something about the machine, not about the library.
settings.register_profile(
    "tests", suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=examples(100)
)
settings.load_profile("tests")

# What a shell without job control starts in the background ignores Ctrl-C and more, and so would each child of a test.
for name, handler in (("INT", signal.default_int_handler), ("HUP", signal.SIG_DFL), ("QUIT", signal.SIG_DFL)):
    if signal.getsignal(getattr(signal, f"SIG{name}")) is signal.SIG_IGN:
        signal.signal(getattr(signal, f"SIG{name}"), handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the tests, some 700,000 objects that stay, out of each later collection: that takes half a second."""
    gc.disable()
    try:
        yield
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 20, 20)  # most of what a test makes has gone by then
    finally:
        gc.enable()
