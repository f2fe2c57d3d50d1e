"""Ask many rows with only a few in flight at once, show the progress, and ask the failed rows again.

Run it with ``python examples/async_batch.py``. The bar comes from rich, which is installed with typer. The mock fails
now and then. The router retries, and rows that fail in the end go to a separate file. If the program is killed, the
same call continues where it stopped.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from rich.progress import Progress

from lee_llm_router import BatchReport, LeeLLMRouter

CONFIG = """
llm:
  providers:
    worker:
      type: mock
      echo: true
      loop: true
      script:
        - {delay: 0.02, times: 3}
        - {error: OVERLOADED, delay: 0.01}
        - {delay: 0.02, times: 30}
        - {error: CONTENT_FILTER, message: "not this one"}
  roles:
    label: {provider: worker, model: m, retry: {backoff: 0.02}}
"""
ROWS = [{"id": number, "item": f"item {number}"} for number in range(40)]


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "labels.jsonl"
        async with LeeLLMRouter(CONFIG) as router:
            with Progress() as progress:
                bar = progress.add_task("labelling", total=len(ROWS))

                def show(figures: BatchReport) -> None:
                    progress.update(bar, completed=figures.done)

                report = await router.batch_async(
                    ROWS, out=out, role="label", template="label {item}", concurrency=8, ordered=True, progress=show
                )
            print(f"{report.answered} answers, {report.failed} failed: {', '.join(report.failures)}")
            again = await router.batch_async(
                ROWS, out=out, role="label", template="label {item}", ordered=True, retry_errors=True
            )
        print(f"asked again: {again.answered}; {again.already_answered} were answered before")
        print(f"the first line: {json.loads(out.read_text().splitlines()[0])['text']}")


asyncio.run(main())
