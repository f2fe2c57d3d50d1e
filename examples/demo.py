"""The router in ten seconds: chains whose first target fails, their answers, and the trace of every attempt.

Run it with ``make demo`` or ``python examples/demo.py``. It works offline and leaves no files behind.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from lee_llm_router import LeeLLMRouter, LocalFileTraceStore
from lee_llm_router.cli import app

CONFIG = Path(__file__).with_suffix(".yaml")

with TemporaryDirectory() as folder:
    store = LocalFileTraceStore(folder)
    with LeeLLMRouter.from_file(CONFIG, trace_store=store) as router:
        print('complete("planner", ...)')
        answer = router.complete("planner", "How do I mend a bug?")
        print(f"  {answer.text}   [{answer.provider}/{answer.model}]")
        print('complete("extractor", ..., json_mode=True)')
        answer = router.complete("extractor", "Three days in Lisbon, please.", json_mode=True)
        print(f"  {answer.parsed}   [{answer.provider}/{answer.model}]")
    print("\n$ lee-llm-router trace --last 2", flush=True)
    app(["trace", "--last", "2", "--dir", folder], standalone_mode=False)
