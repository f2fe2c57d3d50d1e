"""What a call needs from a provider: how to call it, how to check its answer, and what to record.

The engine handles attempts, waits and failures; an operation knows its request and its answer. Chat completion is here,
`embedding.py` has another: a new kind of call is a new class, not another engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from lee_llm_router._util.work_limit import WorkLimit, WorkLimitError, limit_of, quick_limit
from lee_llm_router.compression import Compressor
from lee_llm_router.engine.failures import believable
from lee_llm_router.engine.messages import normalize_messages
from lee_llm_router.engine.plan import CallPlan, Target
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.base import Provider
from lee_llm_router.providers.streams import ensure_response
from lee_llm_router.response.types import (
    LLMRequest,
    LLMResponse,
    Message,
    bind_to_call,
    needs_content_parts,
    with_cost,
    with_parsed,
    with_provider,
    with_tool_calls,
)

if TYPE_CHECKING:
    from lee_llm_router.providers.cache.forms import AnswerForm
    from lee_llm_router.telemetry.reporter import Reporter


class Operation(ABC):
    """One kind of call. An instance holds no state and serves every call of its kind."""

    name: ClassVar[str | None] = None
    """Its name in trace records; None for chat completion."""
    options: ClassVar[frozenset[str] | None] = None
    """The `CallOptions` that it takes; None: all."""
    judged: ClassVar[bool] = True
    """Whether `accept`, of a role or a call, applies to its answers."""
    has_output: ClassVar[bool] = True
    """Whether an answer consists of tokens, which `tpm` counts."""

    @abstractmethod
    def checked(self, payload: Any) -> Any:
        """Return the caller's payload (messages, inputs) in the form that `request_for` takes.

        Raises:
            InvalidRequestError: the payload is invalid.
        """

    @abstractmethod
    def request_for(self, plan: CallPlan, target: Target, reporter: Reporter) -> Any:
        """Return the request for `target`; called once for each target of a call."""

    def refusal(self, provider: Provider[Any], request: Any) -> str | None:  # noqa: ARG002 - most have none
        """Return why `provider` cannot serve `request`, without calling it; None if it can."""
        return None

    def fitted(self, provider: Provider[Any], request: Any) -> tuple[Any, tuple[str, ...]]:  # noqa: ARG002 - as above
        """Return `request` in a form that `provider` can take, and the names of the options left out."""
        return request, ()

    @abstractmethod
    def ask(self, provider: Provider[Any], request: Any, timeout: float) -> Any:
        """Make one attempt, for at most `timeout` seconds."""

    @abstractmethod
    def ask_async(self, provider: Provider[Any], request: Any, timeout: float) -> Coroutine[Any, Any, Any]:
        """Same as `ask`, for asyncio."""

    @abstractmethod
    def accepted(self, plan: CallPlan, target: Target, request: Any, answer: Any) -> Any:
        """Return the answer as the caller gets it.

        Raises:
            LLMRouterError: it does not answer `request`. The attempt has failed.
            WorkLimitError: the check takes too long for an event loop; `accepted_within` is called instead.
        """

    def accepted_within(self, plan: CallPlan, target: Target, request: Any, answer: Any, seconds: float) -> Any:  # noqa: ARG002
        """Same as `accepted`, after it raised `WorkLimitError`: for up to `seconds`, and not on an event loop."""
        return self.accepted(plan, target, request, answer)

    def repaired(self, request: Any, error: LLMRouterError) -> Any:  # noqa: ARG002 - most have no repair message
        """Return `request` as it is sent again after an answer that broke its contract, as described by `error`."""
        return request

    def facts(self, answer: Any) -> LLMResponse:
        """Return the facts about `answer` for a trace record, as a response: model, usage, cost, sizes, text."""
        response: LLMResponse = answer
        return response

    def with_cost(self, answer: Any, cost_usd: float) -> Any:  # noqa: ARG002 - an application's own answer may have no such field
        """Return `answer`, which has no cost, with its cost in US dollars."""
        return answer

    def answer_form(self) -> AnswerForm | None:
        """Return the form in which a cache keeps its answers; None if it does not."""
        return None

    def request_of_kept(self, plan: CallPlan, target: Target) -> Any:  # noqa: ARG002 - the template says enough
        """Return the request for checking an answer that was kept for `target`; it is not sent."""
        return target.request_template

    def messages(self, request: Any) -> Sequence[Mapping[str, Any]]:
        """Return the messages of `request` that a record holds under ``capture: full``."""
        messages: Sequence[Mapping[str, Any]] = request.messages
        return messages

    def tokens_wanted(self, request: Any) -> int:
        """Return an estimate of the tokens that an attempt will use, for `tpm`."""
        from lee_llm_router.engine.token_estimate import request_tokens  # noqa: PLC0415 - many have no such limit

        return request_tokens(request, self.messages(request), has_output=self.has_output)

    def tools(self, request: Any) -> Sequence[Mapping[str, Any]]:  # noqa: ARG002 - most have none
        """Return the tools that `request` offers, for ``capture: full``."""
        return ()

    def settings(self, request: Any) -> Mapping[str, Any]:  # noqa: ARG002 - most have none that this class knows
        """Return the other options of `request` for ``capture: full``, without those not set."""
        return {}


class Completion(Operation):
    """Chat completion: messages in, one `LLMResponse` out."""

    def checked(self, payload: Any) -> tuple[Message, ...]:
        """See `normalize_messages`."""
        return normalize_messages(payload)

    def request_for(self, plan: CallPlan, target: Target, reporter: Reporter) -> LLMRequest:
        """Return the target's template with the call's messages, compressed if the role has a hook."""
        settings, messages = plan.role_settings, plan.payload
        if settings.compress is not None:
            compressed = reporter.call_listener("compression", _compressed, settings.compress, messages)
            messages = compressed or messages
        return bind_to_call(target.request_template, messages, settings.role, plan.request_id, plan.metadata)

    def refusal(self, provider: Provider[Any], request: LLMRequest) -> str | None:
        """Return why not: options, tools or content parts that the provider does not take."""
        capabilities = provider.capabilities
        missing = provider.unsupported(request, provider.settings_for(request))
        if missing:
            told = "; ".join(f"{option}: {reason}" for option, reason in missing.items())
            return f"it does not support what is asked: {told} (drop_unsupported: true leaves it out)"
        if request.tools and not capabilities.tools:
            return "the provider does not support tools"
        takes_parts = capabilities.content_parts
        if not needs_content_parts(request.messages):
            return None
        if not takes_parts:
            return "the provider takes text only"
        if capabilities.media is not None:
            from lee_llm_router.response.content import media_kinds  # noqa: PLC0415 - most messages are text

            foreign = sorted(media_kinds(request.messages) - capabilities.media)
            if foreign:
                return f"the provider takes no parts of the kind {' or '.join(foreign)}"
        return provider.untakable(request)

    def fitted(self, provider: Provider[Any], request: LLMRequest) -> tuple[LLMRequest, tuple[str, ...]]:
        """Return `request` without the options that the provider cannot express, if they may be dropped."""
        if not request.drop_unsupported:
            return request, ()
        missing = {**provider.unsupported(request, provider.settings_for(request)), **provider.refused_before(request)}
        dropped = tuple(option for option in missing if option not in _NEVER_DROPPED)
        return (replace(request, **{name: _DEFAULTS[name] for name in dropped}), dropped) if dropped else (request, ())

    def tools(self, request: LLMRequest) -> Sequence[Mapping[str, Any]]:
        """Return the tools as given."""
        return request.tools or ()

    def settings(self, request: LLMRequest) -> Mapping[str, Any]:
        """Return the fields of `request` that are set; a type given as schema becomes its JSON Schema, if any."""
        asked = {name: getattr(request, name) for name in _SETTINGS if request.asks_for(name)}
        if request.schema is not None:
            asked["schema"] = shown_schema(request.schema)
        return asked

    def ask(self, provider: Provider[Any], request: LLMRequest, timeout: float) -> LLMResponse:
        """See `Provider.complete`."""
        return provider.complete(request, timeout)

    def ask_async(
        self, provider: Provider[Any], request: LLMRequest, timeout: float
    ) -> Coroutine[Any, Any, LLMResponse]:
        """See `Provider.complete_async`."""
        return provider.complete_async(request, timeout)

    def accepted(self, plan: CallPlan, target: Target, request: LLMRequest, answer: Any) -> LLMResponse:
        """Return the response, checked against its JSON contract, with the names of its provider and call."""
        response = believable(answer if type(answer) is LLMResponse else ensure_response(answer))
        if response.tool_calls:
            response = _with_parsed_calls(request, response)
        if request.wants_json:
            parsed = _parser()(request, response, quick_limit())
            return with_parsed(response, parsed, target.provider, plan.request_id)
        return with_provider(response, target.provider, plan.request_id)

    def accepted_within(
        self, plan: CallPlan, target: Target, request: LLMRequest, answer: Any, seconds: float
    ) -> LLMResponse:
        """Same as `accepted`, with a higher limit; an answer that takes even longer to check breaks its contract."""
        from lee_llm_router.engine import json_contract  # noqa: PLC0415 - as above

        response = believable(ensure_response(answer))
        if response.tool_calls:
            response = _with_parsed_calls(request, response)
        try:
            parsed = json_contract.parse_answer(request, response, limit_of(seconds))
        except WorkLimitError:
            raise json_contract.unchecked(response) from None
        return with_parsed(response, parsed, target.provider, plan.request_id)

    def with_cost(self, answer: LLMResponse, cost_usd: float) -> LLMResponse:
        """Return the response with its cost."""
        return with_cost(answer, cost_usd)

    def answer_form(self) -> AnswerForm:
        """See `Operation.answer_form`."""
        from lee_llm_router.providers.cache.forms import COMPLETION_FORM  # noqa: PLC0415 - only if there is a cache

        return COMPLETION_FORM

    def repaired(self, request: LLMRequest, error: LLMRouterError) -> LLMRequest:
        """Return `request` with the broken answer, and a message that says what is wrong with it."""
        from lee_llm_router.engine import json_contract  # noqa: PLC0415 - as above

        return replace(request, messages=(*request.messages, *json_contract.repair_messages(error)))


COMPLETION = Completion()

_SETTINGS = [
    field.name
    for field in fields(LLMRequest)
    if field.name not in ("messages", "model", "tools", "schema", "role", "request_id", "metadata", "drop_unsupported")
]

_NEVER_DROPPED = frozenset({"messages", "model", "tools", "schema"})
"""Options that are never dropped even if a provider cannot express them: the answer would be to another question."""
_DEFAULTS: dict[str, Any] = {
    field.name: field.default if field.default_factory is MISSING else field.default_factory()
    for field in fields(LLMRequest)
}
"""The values of options that are not set."""


@cache
def _parser() -> Callable[[LLMRequest, LLMResponse, WorkLimit], Any]:
    """Return `json_contract.parse_answer`: even a repeated import takes 5,000 instructions."""
    from lee_llm_router.engine.json_contract import parse_answer  # noqa: PLC0415 - many programs have no contracts

    return parse_answer


def _with_parsed_calls(request: LLMRequest, response: LLMResponse) -> LLMResponse:
    from lee_llm_router.response.tools import with_parsed_arguments  # noqa: PLC0415 - most answers call nothing

    return with_tool_calls(response, with_parsed_arguments(response.tool_calls, request.tools or ()))


def shown_schema(schema: Any) -> Any:
    """Return a schema as records show it: a JSON Schema, or the name of a type that has none."""
    from lee_llm_router.providers.json_schema import json_schema_of, type_name  # noqa: PLC0415 - as above

    try:
        return json_schema_of(schema)
    except Exception:  # noqa: BLE001 - a record must not cost the call
        return type_name(schema)


def _compressed(hook: Compressor, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages from `hook`, checked like a caller's messages."""
    return normalize_messages(hook([*map(dict, messages)]))
