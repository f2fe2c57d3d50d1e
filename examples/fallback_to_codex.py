"""Fall back from one kind of provider to another: an HTTP API that is down, then the Codex CLI.

Run it with ``python examples/fallback_to_codex.py``. The program `codex` answers if it is installed and logged in;
LEE_CODEX_COMMAND names another program. Without either, the example prints the error, which lists every attempt.
"""

from pathlib import Path

from lee_llm_router import LeeLLMRouter, LLMRouterError, LocalFileTraceStore

CONFIG = Path(__file__).with_suffix(".yaml")

with LeeLLMRouter.from_file(CONFIG) as router:
    try:
        response = router.complete("coder", "Write a Python one-liner that reverses a string.")
    except LLMRouterError as error:
        print(error)
        print("-- no answer: is the codex CLI installed and logged in?")
    else:
        print(response.text)
        print(f"-- served by {response.provider}")
        if isinstance(router.trace_store, LocalFileTraceStore):
            for record in router.trace_store.find(response.request_id):
                print(f"   {record.target}: {record.failure_type or record.outcome}, then {record.verdict}")
