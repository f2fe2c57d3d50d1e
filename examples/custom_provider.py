"""Use a custom provider with only a blocking call from asyncio.

Run it with ``python examples/custom_provider.py``. The router runs the blocking call in a thread, limits it to the
attempt's timeout, and does everything else: retries, fallbacks, traces, typed errors.
"""

import asyncio
from itertools import count
from typing import Any

from pydantic import Field

from lee_llm_router import (
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    OverloadedError,
    Provider,
    ProviderConfig,
    register,
)
from lee_llm_router.response import message_text

CONFIG = """
llm:
  providers:
    mirror: {type: reverse, busy_first: 1}
  roles:
    mirror: {provider: mirror, model: plain, retry: {backoff: 0.01}}
"""


class ReverseConfig(ProviderConfig):
    """Settings of the provider; `load_config` checks them and reports mistakes with line and column."""

    busy_first: int = Field(0, ge=0, description="How many calls fail before the first answer.")


class ReverseProvider(Provider[ReverseConfig]):
    """Answer with the question reversed."""

    config_model = ReverseConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._calls = count(1)  # one instance serves many threads; next() on a count is atomic

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:  # noqa: ARG002 - never slow
        if next(self._calls) <= self.config.busy_first:
            raise OverloadedError("still turning the mirror")  # a typed error, so the router knows what to do
        return LLMResponse(text=message_text(request.messages[-1])[::-1], finish_reason="stop", model=request.model)


async def main() -> None:
    register("reverse", ReverseProvider)
    async with LeeLLMRouter(CONFIG) as router:
        questions = ["stressed", "drawer", "live"]
        for response in await asyncio.gather(*(router.complete_async("mirror", text) for text in questions)):
            print(response.text)


asyncio.run(main())
