"""What a call wants of a provider: how to ask, how to check what comes back, and what of it to record.

The engine knows attempts, waits and failures; an operation knows its question and its answer. Chat completion is here,
`embedding.py` has another: one more kind of call is one more class, not another engine.
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
    """What a trace record calls it; None for chat completion."""
    options: ClassVar[frozenset[str] | None] = None
    """The options of `CallOptions` that it takes; None: all."""
    judged: ClassVar[bool] = True
    """Whether `accept`, of a role or a call, is about its answers."""
    has_output: ClassVar[bool] = True
    """Whether an answer is made of tokens, which `tpm` counts."""

    @abstractmethod
    def checked(self, payload: Any) -> Any:
        """Return what the caller asks (messages, inputs) in the form that `request_for` takes.

        Raises:
            InvalidRequestError: it is nothing that could be asked.
        """

    @abstractmethod
    def request_for(self, plan: CallPlan, target: Target, reporter: Reporter) -> Any:
        """Return the request for `target`, made once for each target of a call."""

    def refusal(self, provider: Provider[Any], request: Any) -> str | None:  # noqa: ARG002 - most have none
        """Return why `provider` cannot serve `request`, found without asking it; None if it can."""
        return None

    def fitted(self, provider: Provider[Any], request: Any) -> tuple[Any, tuple[str, ...]]:  # noqa: ARG002 - as above
        """Return `request` as `provider` can take it, and the names of what was left out of it."""
        return request, ()

    @abstractmethod
    def ask(self, provider: Provider[Any], request: Any, timeout: float) -> Any:
        """Make one try, for at most `timeout` seconds."""

    @abstractmethod
    def ask_async(self, provider: Provider[Any], request: Any, timeout: float) -> Coroutine[Any, Any, Any]:
        """As `ask`, for asyncio."""

    @abstractmethod
    def accepted(self, plan: CallPlan, target: Target, request: Any, answer: Any) -> Any:
        """Return the answer as the caller gets it.

        Raises:
            LLMRouterError: it is no answer to `request`. The attempt has failed.
            WorkLimitError: to find out takes too long for an event loop: `accepted_within` is asked.
        """

    def accepted_within(self, plan: CallPlan, target: Target, request: Any, answer: Any, seconds: float) -> Any:  # noqa: ARG002
        """As `accepted`, which has raised `WorkLimitError`: now for up to `seconds`, and not on an event loop."""
        return self.accepted(plan, target, request, answer)

    def repaired(self, request: Any, error: LLMRouterError) -> Any:  # noqa: ARG002 - most have no words for it
        """Return `request` as it is asked again after an answer that broke its contract, as `error` says."""
        return request

    def facts(self, answer: Any) -> LLMResponse:
        """Return what a trace record says of `answer`, as a response: model, usage, cost, sizes, text."""
        response: LLMResponse = answer
        return response

    def with_cost(self, answer: Any, cost_usd: float) -> Any:  # noqa: ARG002 - an application's own may have no field
        """Return `answer`, which names no cost, with what it cost in US dollars."""
        return answer

    def answer_form(self) -> AnswerForm | None:
        """Return how its answers are kept by a cache; None: they are not."""
        return None

    def request_of_kept(self, plan: CallPlan, target: Target) -> Any:  # noqa: ARG002 - the template says enough
        """Return the request by which an answer that was kept for `target` is checked; it is not sent."""
        return target.request_template

    def messages(self, request: Any) -> Sequence[Mapping[str, Any]]:
        """Return the messages of `request` that a record holds under ``capture: full``."""
        messages: Sequence[Mapping[str, Any]] = request.messages
        return messages

    def tokens_wanted(self, request: Any) -> int:
        """Return an estimate of the tokens that an attempt will use, where `tpm` limits them."""
        from lee_llm_router.engine.token_estimate import request_tokens  # noqa: PLC0415 - many have no such limit

        return request_tokens(request, self.messages(request), has_output=self.has_output)

    def tools(self, request: Any) -> Sequence[Mapping[str, Any]]:  # noqa: ARG002 - most have none
        """Return the tools that `request` offers, for ``capture: full``."""
        return ()

    def settings(self, request: Any) -> Mapping[str, Any]:  # noqa: ARG002 - most have none that this class knows
        """Return what else `request` asks for, for ``capture: full``: what is not set is left out."""
        return {}


class Completion(Operation):
    """Chat completion: messages in, one `LLMResponse` out."""

    def checked(self, payload: Any) -> tuple[Message, ...]:
        """As `normalize_messages`."""
        return normalize_messages(payload)

    def request_for(self, plan: CallPlan, target: Target, reporter: Reporter) -> LLMRequest:
        """Return the target's template with the call's messages, compressed if the role has a hook for that."""
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
            return f"it cannot express what is asked: {told} (drop_unsupported: true leaves it out)"
        if request.tools and not capabilities.tools:
            return "the provider does not take tools"
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
        """Return `request` without what the provider cannot express, where that is wanted."""
        if not request.drop_unsupported:
            return request, ()
        missing = {**provider.unsupported(request, provider.settings_for(request)), **provider.refused_before(request)}
        dropped = tuple(option for option in missing if option not in _NEVER_DROPPED)
        return (replace(request, **{name: _DEFAULTS[name] for name in dropped}), dropped) if dropped else (request, ())

    def tools(self, request: LLMRequest) -> Sequence[Mapping[str, Any]]:
        """Return the tools as they were given."""
        return request.tools or ()

    def settings(self, request: LLMRequest) -> Mapping[str, Any]:
        """Return the fields of `request` that are set; a type given as schema as its JSON Schema, if it has one."""
        asked = {name: getattr(request, name) for name in _SETTINGS if request.asks_for(name)}
        if request.schema is not None:
            asked["schema"] = shown_schema(request.schema)
        return asked

    def ask(self, provider: Provider[Any], request: LLMRequest, timeout: float) -> LLMResponse:
        """As `Provider.complete`."""
        return provider.complete(request, timeout)

    def ask_async(
        self, provider: Provider[Any], request: LLMRequest, timeout: float
    ) -> Coroutine[Any, Any, LLMResponse]:
        """As `Provider.complete_async`."""
        return provider.complete_async(request, timeout)

    def accepted(self, plan: CallPlan, target: Target, request: LLMRequest, answer: Any) -> LLMResponse:
        """Return the response, held to its JSON contract, naming who served it in which call."""
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
        """As `accepted`, with a longer limit; an answer that takes even longer to check breaks its contract."""
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
        """As `Operation.answer_form`."""
        from lee_llm_router.providers.cache.forms import COMPLETION_FORM  # noqa: PLC0415 - only where there is a cache

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
"""What a provider may find inexpressible too; without it, the answer would be one to another question."""
_DEFAULTS: dict[str, Any] = {
    field.name: field.default if field.default_factory is MISSING else field.default_factory()
    for field in fields(LLMRequest)
}
"""What stands for an option that is not asked for."""


@cache
def _parser() -> Callable[[LLMRequest, LLMResponse, WorkLimit], Any]:
    """Return `json_contract.parse_answer`: an import that was made before still takes 5,000 instructions."""
    from lee_llm_router.engine.json_contract import parse_answer  # noqa: PLC0415 - many programs have no contracts

    return parse_answer


def _with_parsed_calls(request: LLMRequest, response: LLMResponse) -> LLMResponse:
    from lee_llm_router.response.tools import with_parsed_arguments  # noqa: PLC0415 - most answers call nothing

    return with_tool_calls(response, with_parsed_arguments(response.tool_calls, request.tools or ()))


def shown_schema(schema: Any) -> Any:
    """Return a schema as records have it: a JSON Schema, or the name of a type that has none."""
    from lee_llm_router.providers.json_schema import json_schema_of, type_name  # noqa: PLC0415 - as above

    try:
        return json_schema_of(schema)
    except Exception:  # noqa: BLE001 - a record is not worth a call
        return type_name(schema)


def _compressed(hook: Compressor, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return what `hook` makes of `messages`, checked as what a caller passes."""
    return normalize_messages(hook([*map(dict, messages)]))
