"""The fixture that users get, for the tests of the library too."""

pytest_plugins = ["lee_llm_router.pytest_plugin"]
