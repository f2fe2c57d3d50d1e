"""The policy `lowest_cost`: prefers the target with the lowest expected cost for the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from lee_llm_router._util.numbers import written_out
from lee_llm_router._util.printable import printable
from lee_llm_router.policy.contract import RoutingContext
from lee_llm_router.policy.spreading import AmongSettings, Spread, SpreadPolicy
from lee_llm_router.response.types import LLMRequest, make_usage
from lee_llm_router.settings.fields import Integer
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.records import TraceRecord

_CHARACTERS_A_TOKEN = 4
"""The usual estimate for English text."""
_TOKENS_OF_A_PART = 1000
"""Tokens counted for a picture or a file. Vendors count 85 to 2,500 for a picture."""
_MOST_READ = 20
"""The most messages that are read. In a longer conversation, the others count like the last ones."""
_NEWEST = 0.02
"""Weight of the newest answer in the average length, once there are 50 answers. Lengths vary much between answers, but
little over time."""
_HOPE = 0.25
"""Assumed length of the answers of a target never called, relative to the role's average. So a target that may be the
cheapest is tried until its length is known, and an expensive one is not tried just to measure it. Simulated with
the answers of 2024 models to GSM8K, CRUX and MATH (ZeroEval), in 12 choices among 2 to 7 of them: 10 cost at most 2%
more than the cheapest model alone, the others 4% and 20%; without this factor, six cost 5 to 53% more."""
_KNOWN_AFTER = 10
"""Answers after which the average length is used unchanged."""
_MOST_LEARNED = 4096
"""The most targets whose lengths are remembered, since callers may pass any model name."""
_EMBEDDED_TOKENS = 1000
"""Tokens assumed for a request without messages; only the ratio of prices matters then."""


class CostSettings(AmongSettings):
    """Settings of the policy `lowest_cost`."""

    output_tokens: Integer = Field(
        500, gt=0, description="Tokens to expect in an answer, until a target has shown how many it writes."
    )


class _Length:
    """The length of answers in tokens: a moving average, and the number of answers."""

    __slots__ = ("answers", "tokens")

    def __init__(self) -> None:
        self.answers = 0
        self.tokens = 0.0

    def learn(self, tokens: int) -> None:
        """Count one answer."""
        self.answers += 1
        self.tokens += max(_NEWEST, 1 / self.answers) * (tokens - self.tokens)

    def expected(self) -> float:
        """Return the expected length of the next answer: an optimistic one while few answers are known."""
        return self.tokens * (_HOPE + (1 - _HOPE) * min(1.0, self.answers / _KNOWN_AFTER))


class LowestCostPolicy(SpreadPolicy):
    """Orders the targets by the expected cost of the request; targets without a price come last.

    The length of a target's answers is learned for each role separately: a model that thinks aloud may be cheap per
    token but expensive per answer.

    Args:
        settings: The expected length of answers.
    """

    config_model: ClassVar[type[PluginSettings]] = CostSettings

    def __init__(self, settings: CostSettings) -> None:
        super().__init__(settings)
        self._output_tokens = settings.output_tokens
        self._learned: dict[tuple[str, str | None, str | None], _Length] = {}
        """By role, provider and model, named as in records; without provider and model: for the whole role."""

    def ordered(self, spread: Spread, context: RoutingContext) -> tuple[Sequence[int], str]:
        """See `SpreadPolicy.ordered`."""
        prompt, role = _prompt_tokens(context.request), printable(spread.role)
        of_role = self._learned.get((role, None, None))
        usual = self._output_tokens if of_role is None else of_role.tokens * _HOPE
        costs: list[tuple[float, int]] = []
        unknown: list[int] = []
        for place in spread.places:
            target = spread.targets[place]
            card = context.price_of(target)
            cost = None
            if card is not None:
                most = context.request.max_tokens or target.request_template.max_tokens
                learned = self._learned.get((role, *target.names))
                written = usual if learned is None else learned.expected()
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
        """Learn from the length of an answer."""
        tokens = None if record.usage is None else record.usage.completion_tokens
        if not tokens or record.outcome != "ok" or record.provider is None:
            return
        for key in ((record.role, None, None), (record.role, record.provider, record.model)):
            learned = self._learned.get(key)
            if learned is None:
                if len(self._learned) >= _MOST_LEARNED:
                    self._learned.pop(next(iter(self._learned)), None)
                learned = self._learned.setdefault(key, _Length())
            learned.learn(tokens)


def _prompt_tokens(request: LLMRequest) -> int | None:
    """Estimate the tokens in the messages of `request`; None if there are no messages (an embedding)."""
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
