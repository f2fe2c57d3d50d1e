"""Send many prompts with only a few in flight at once, show a progress bar, and keep the answers in order.

Run it with ``python examples/async_batch.py``. The bar comes from rich, which is installed with typer. The mock fails
now and then. The router retries, and a prompt that fails for good does not end the batch.
"""

import asyncio

from rich.progress import Progress

from lee_llm_router import LeeLLMRouter, LLMRouterError

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
AT_ONCE = 8


async def main() -> None:
    prompts = [f"label item {number}" for number in range(40)]
    slots = asyncio.Semaphore(AT_ONCE)
    async with LeeLLMRouter(CONFIG) as router:
        with Progress() as progress:
            bar = progress.add_task("labelling", total=len(prompts))

            async def label(prompt: str) -> str | LLMRouterError:
                async with slots:
                    try:
                        return (await router.complete_async("label", prompt)).text
                    except LLMRouterError as error:
                        return error
                    finally:
                        progress.advance(bar)

            results = await asyncio.gather(*map(label, prompts))
    failed = [result for result in results if isinstance(result, LLMRouterError)]
    print(f"{len(results) - len(failed)} answers, {len(failed)} failed: {', '.join(e.failure_type for e in failed)}")


asyncio.run(main())
