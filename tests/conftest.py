"""The fixture that users get, for the tests of the library too."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["lee_llm_router.pytest_plugin"]

# How long an input takes to make says something about the machine, not about the library.
settings.register_profile("tests", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("tests")
