"""A custom routing policy: short prompts go to a small model, long ones to a large one, and failing targets come last.

Run it with ``python examples/custom_policy.py``. The small model is a mock that breaks after its first answer.
"""

from lee_llm_router import LeeLLMRouter, LLMConfig, ProviderChoice, RoutingContext, TraceRecord
from lee_llm_router.response import message_text

CONFIG = """
llm:
  providers:
    small: {type: mock, model: s, script: [{text: "small says hi"}, {error: OVERLOADED, status_code: 503}]}
    large: {type: mock, model: l, response_text: "large says hi"}
  roles:
    chat: {provider: small, retry: {attempts: 2, backoff: 0.01}, metadata: {long_from: 200}}
"""


class ByLength:
    """Choose by the length of the prompt; a provider that failed twice in a row comes last."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def choose(self, role: str, config: LLMConfig, *, context: RoutingContext | None = None) -> ProviderChoice:
        assert context is not None, "the router fills in `context`, because this method takes it"
        characters = sum(len(message_text(message)) for message in context.request.messages)
        is_long = characters >= config.roles[role].metadata["long_from"]
        names = ["large", "small"] if is_long else ["small", "large"]
        ill = {provider for (provider, _), health in context.health.items() if health.failures_in_a_row >= 2}
        first, *rest = sorted(names, key=lambda name: name in ill)
        return ProviderChoice(first, request_overrides={"temperature": 0.2}, fallbacks=rest)

    def observe(self, record: TraceRecord) -> None:
        """Record a finished attempt."""
        self.seen.append(f"{record.target} {record.outcome}")


policy = ByLength()
with LeeLLMRouter(CONFIG, policy=policy) as router:
    for prompt in ("Hi!", "Hi " * 100, "Hi, small one?", "Hi again?"):
        response = router.complete("chat", prompt)
        print(f"{len(prompt):>3} characters: {response.text}")
print("attempts:", ", ".join(policy.seen))
