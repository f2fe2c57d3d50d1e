"""The fixtures of all tests: that which users get, and those that several folders share."""

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "lee_llm_router.pytest_plugin",
    "helpers.child_fixtures",
    "helpers.claude_fixtures",
    "helpers.codex_fixtures",
    "helpers.gemini_fixtures",
]

# How long an input takes to make says something about the machine, not about the library.
settings.register_profile("tests", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("tests")
