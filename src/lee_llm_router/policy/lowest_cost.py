"""The policy `lowest_cost`: the target at which the request is expected to cost least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from lee_llm_router._util.numbers import written_out
from lee_llm_router._util.printable import printable
from lee_llm_router.policy.contract import RoutingContext
from lee_llm_router.policy.spreading import AmongSettings, Spread, SpreadPolicy
from lee_llm_router.response import LLMRequest, make_usage
from lee_llm_router.settings.fields import Integer
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import TraceRecord

_CHARACTERS_A_TOKEN = 4
"""The usual estimate for English text."""
_TOKENS_OF_A_PART = 1000
"""Tokens of a picture or a file. Vendors count 85 to 2,500 for a picture."""
_MOST_READ = 20
"""Messages that are read. Of a longer conversation the rest counts as the last ones do."""
_NEWEST = 0.1
"""Share of the newest answer in the average length of answers."""
_MOST_LEARNED = 4096
"""Targets whose lengths are remembered, since callers may pass any model name."""
_EMBEDDED_TOKENS = 1000
"""Tokens of a request without messages; only the ratio of prices matters then."""


class CostSettings(AmongSettings):
    """Settings of the policy `lowest_cost`."""

    output_tokens: Integer = Field(
        500, gt=0, description="Tokens that an answer is expected to have, until a target has shown how many it writes."
    )


class LowestCostPolicy(SpreadPolicy):
    """Puts the targets in the order of what the request is expected to cost; those without a price stand last.

    How long the answers of a target are is learned, for each role by itself: a model that thinks aloud may be cheap by
    the token and dear by the answer.

    Args:
        settings: The expected length of answers.
    """

    config_model: ClassVar[type[PluginSettings]] = CostSettings

    def __init__(self, settings: CostSettings) -> None:
        super().__init__(settings)
        self._output_tokens = settings.output_tokens
        self._learned: dict[tuple[str, str | None, str | None], float] = {}
        """Tokens of an answer, by the role and the names of the target, as records have them."""

    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:
        """As `SpreadPolicy.ordered`."""
        prompt, role = _prompt_tokens(context.request), printable(spread.role)
        costs: list[tuple[float, int]] = []
        unknown: list[int] = []
        for place in spread.places:
            target = spread.targets[place]
            card = context.price_of(target)
            cost = None
            if card is not None:
                most = context.request.max_tokens or target.request_template.max_tokens
                written = self._learned.get((role, *target.names), self._output_tokens)
                output = 0 if prompt is None else int(written if most is None else min(written, most))
                usage = make_usage(prompt_tokens=prompt or _EMBEDDED_TOKENS, completion_tokens=output)
                cost = card.cost_of(usage, has_output=prompt is not None)
            if cost is None:
                unknown.append(place)
            else:
                costs.append((cost, place))
        if not costs:
            return unknown, "no price is known"
        costs.sort()
        reason = f"the cheapest: about ${written_out(costs[0][0], 2)}"
        return [*(place for _, place in costs), *unknown], reason

    def observe(self, record: TraceRecord) -> None:
        """Learn how long an answer is."""
        tokens = None if record.usage is None else record.usage.completion_tokens
        if not tokens or record.outcome != "ok" or record.provider is None:
            return
        key = (record.role, record.provider, record.model)
        before = self._learned.get(key)
        if before is None and len(self._learned) >= _MOST_LEARNED:
            self._learned.pop(next(iter(self._learned)), None)
        self._learned[key] = tokens if before is None else before + _NEWEST * (tokens - before)


def _prompt_tokens(request: LLMRequest) -> int | None:
    """Return about how many tokens the messages of `request` have; None if there are none, as of an embedding."""
    messages = request.messages
    if not messages:
        return None
    read = messages[-_MOST_READ:]
    tokens = sum(map(_tokens_of, read))
    return max(1, tokens * len(messages) // len(read))


def _tokens_of(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, str):
        return len(content) // _CHARACTERS_A_TOKEN
    if not isinstance(content, list | tuple):
        return 0
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    return sum(len(t) // _CHARACTERS_A_TOKEN if isinstance(t, str) else _TOKENS_OF_A_PART for t in texts)
