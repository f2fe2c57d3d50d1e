"""Requests to providers and their answers, as plain frozen data; and functions that read messages. Vendor-neutral."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from typing_extensions import TypeVar

from lee_llm_router._util.answer_headers import NO_HEADERS, request_id_in
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.deferred import deferrable
from lee_llm_router._util.frozen import late_copier, late_maker
from lee_llm_router.response.details import NO_DETAILS, AnswerDetails, with_native

if TYPE_CHECKING:
    from lee_llm_router.response.tools import Functions

Message: TypeAlias = Mapping[str, Any]
"""One chat message in the OpenAI shape: ``{"role": "user", "content": "..."}``; content may be a list of parts."""

ParsedT_co = TypeVar("ParsedT_co", covariant=True, default=Any)
"""The type of `LLMResponse.parsed`: the type given as `schema`. Plain `LLMResponse` leaves it open."""

MESSAGE_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
"""Roles a message may have (OpenAI API reference, "Create chat completion", `messages`)."""
_INSTRUCTION_ROLES = ("system", "developer")

REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The scale of `LLMRequest.reasoning_effort`, from no thinking to the maximum. Each dialect maps it to its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRequest:
    """One request, as a provider sees it. None means that the option is not set and not sent.

    Its mappings are shared with other calls. Change a copy, never the original.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """Upper bound on generated tokens."""
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    """Whether to return the probabilities of the chosen tokens: `AnswerDetails.logprobs`."""
    top_logprobs: int | None = None
    """How many of the likeliest tokens to return for each position; implies `logprobs`."""
    reasoning_effort: str | None = None
    """How much to think: one of `REASONING_EFFORTS`, or a word of the vendor's own."""
    service_tier: str | None = None
    """The vendor's word for its price and speed tier: ``flex``, ``priority``."""
    tools: tuple[Mapping[str, Any], ...] | None = None
    """Tools in the OpenAI shape: ``{"type": "function", "function": {"name": ..., "parameters": ...}}``."""
    tool_choice: str | Mapping[str, Any] | None = None
    """`auto`, `none`, `required`, or one tool: ``{"type": "function", "function": {"name": ...}}``."""
    parallel_tool_calls: bool | None = None
    """Whether one answer may call several tools. None leaves it to the vendor."""
    json_mode: bool = False
    """The answer must be one JSON value. It is parsed and returned as `LLMResponse.parsed`."""
    schema: Any = None
    """The answer must fit this: a JSON Schema (a mapping), or a type that pydantic can validate.

    `providers.json_schema.json_schema_of` gives the JSON Schema of either.
    """
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Fields merged unchanged into the request body: for a vendor's own options."""
    extra_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Query parameters added to the request URL."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    drop_unsupported: bool = False
    """Whether to leave out options that the target cannot express; otherwise the target is skipped."""
    role: str = ""
    request_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The application's notes. They go into the trace, never to a provider."""

    def asks_for(self, option: str) -> bool:
        """Return whether the field `option` is set to anything that the provider must receive."""
        value = getattr(self, option)
        if value is None or value is False:
            return value is not None and option == "parallel_tool_calls"
        return not isinstance(value, Mapping) or bool(value)

    @property
    def wants_json(self) -> bool:
        """Whether the answer must be JSON (`json_mode` or `schema`)."""
        return self.json_mode or self.schema is not None


bind_to_call: Callable[[LLMRequest, tuple[Message, ...], str, str, Mapping[str, Any]], LLMRequest] = late_copier(
    LLMRequest, "messages", "role", "request_id", "metadata"
)
"""``bind_to_call(request, messages, role, request_id, metadata)``: return a copy that belongs to one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMUsage:
    """Tokens that one attempt used, as the provider reported them. None means unreported."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    """The part of `prompt_tokens` read from the vendor's cache."""
    cache_write_tokens: int | None = None
    """The part of `prompt_tokens` written to the vendor's cache."""
    cache_write_1h_tokens: int | None = None
    """The part of `cache_write_tokens` that is kept for an hour and so costs more, if the vendor reports it."""
    reasoning_tokens: int | None = None
    """The part of `completion_tokens` spent on reasoning."""

    def __bool__(self) -> bool:
        """Whether anything was reported."""
        return self is not UNREPORTED and (self.prompt_tokens is not None or self != UNREPORTED)


make_usage = late_maker(LLMUsage)
"""``make_usage(prompt_tokens=1)``: same as calling `LLMUsage`, but faster."""
UNREPORTED = LLMUsage()
"""The usage of an answer for which none was reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call that the model requests."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it, unchecked."""
    parsed: Any = field(default=None, compare=False)
    """The arguments by name, if they are a JSON object and fit; filled in by the router.

    If the tool is a function, they are checked against its hints and converted to their types; else only decoded.
    """


@deferrable("raw")
@dataclass(frozen=True, slots=True, kw_only=True)
class LLMResponse(Generic[ParsedT_co]):
    """One complete answer."""

    text: str
    """The answer's text; empty if the model only calls tools."""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    """The model's reasoning, if the provider shows it."""
    finish_reason: str | None = None
    """`stop`, `length`, `tool_calls`, or another word of the vendor."""
    usage: LLMUsage = UNREPORTED
    """Never None: if nothing was reported, its fields are None and it is falsy."""
    cost_usd: float | None = None
    """Cost of the attempt in US dollars: as reported by the vendor, else from the known prices; None if unknown."""
    cached: bool = False
    """Whether the answer comes from the cache (`cache`): no provider was called, and it cost 0."""
    model: str | None = None
    """The model that answered, as the provider reports it."""
    provider: str = ""
    """Name of the provider that answered, filled in by the router."""
    request_id: str = ""
    """The call's id (UUIDv7), as in its traces; filled in by the router."""
    parsed: ParsedT_co = None  # type: ignore[assignment]
    """The parsed answer under `json_mode` or `schema`, of the type given as `schema`.

    None without a contract, and None if the answer only calls tools.
    """
    raw: Any = field(default=None, repr=False, compare=False)
    """The vendor's response, decoded: for anything that has no field here.

    For a streamed answer it is assembled from the events on first access: pieces of text are joined, lists are filled
    by index, other fields keep their last value.
    """
    request_bytes: int | None = field(default=None, repr=False)
    """Size of the request in bytes, if the provider knows it."""
    headers: Mapping[str, str] = field(default=NO_HEADERS, repr=False, compare=False)
    """Header fields of the response, by case-insensitive name; empty for a provider that has none.

    Keys are removed, and each value is bounded.
    """
    details: AnswerDetails = field(default=NO_DETAILS, repr=False)
    """The other contents of the answer: citations, pictures, token probabilities, the vendor's id."""

    @property
    def message(self) -> dict[str, Any]:
        """The complete answer as a message: append it to the messages of the next call.

        It has `role`, `content`, `tool_calls`, and under `provider_data` what its vendor wants back in the next
        request. Other vendors never receive that field; it is still there when the conversation returns to its vendor.
        """
        message: dict[str, Any] = {"role": "assistant", "content": self.text or (None if self.tool_calls else "")}
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        return with_native(message, self.details.native)

    def run_tools(self, functions: Functions) -> list[dict[str, Any]]:
        """Run the tool calls of the answer, in order; return the messages that go back to the model, one for each call.

        A failed call raises nothing. The model learns of unknown tools, arguments that do not fit and exceptions from
        the message, which then has ``is_error: true``.

        Args:
            functions: The functions, as they were passed as `tools`, or by the names that the model knows.

        Raises:
            InvalidRequestError: one of `functions` cannot be a tool.
        """
        from lee_llm_router.response.tools import run_tools  # noqa: PLC0415 - most programs have no tools

        return run_tools(self.tool_calls, functions)

    async def run_tools_async(self, functions: Functions) -> list[dict[str, Any]]:
        """Same as `run_tools`, for asyncio: runs the calls concurrently, functions that are not async in threads."""
        from lee_llm_router.response.tools import run_tools_async  # noqa: PLC0415 - as above

        return await run_tools_async(self.tool_calls, functions)

    @property
    def provider_request_id(self) -> str | None:
        """The id that the vendor gave the request, to quote to its support; None if it gave none."""
        return request_id_in(self.headers)


make_response = late_maker(LLMResponse)
"""``make_response(text="yes")``: same as calling `LLMResponse`, but faster."""
with_provider: Callable[[LLMResponse, str, str], LLMResponse] = late_copier(LLMResponse, "provider", "request_id")
"""``with_provider(response, provider, request_id)``: return a copy that names the provider and the call."""
with_parsed: Callable[[LLMResponse, Any, str, str], LLMResponse] = late_copier(
    LLMResponse, "parsed", "provider", "request_id"
)
"""``with_parsed(response, parsed, provider, request_id)``: same as `with_provider`, with the parsed value as well."""
with_tool_calls: Callable[[LLMResponse, tuple[ToolCall, ...]], LLMResponse] = late_copier(LLMResponse, "tool_calls")
"""``with_tool_calls(response, calls)``: return a copy with other tool calls."""
with_cost: Callable[[LLMResponse, float], LLMResponse] = late_copier(LLMResponse, "cost_usd")
"""``with_cost(response, cost_usd)``: return a copy that states its cost."""
with_headers: Callable[[LLMResponse, Mapping[str, str]], LLMResponse] = late_copier(LLMResponse, "headers")
"""``with_headers(response, headers)``: return a copy with the header fields of the response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call in a stream. Pieces with the same `index` belong together."""

    index: int = 0
    id: str | None = None
    """Only in the first piece."""
    name: str | None = None
    """Only in the first piece."""
    arguments: str = ""
    """The next part of the arguments' JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamChunk:
    """A piece of a streamed answer. A field that did not come with this piece is unset."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    usage: LLMUsage | None = None
    index: int = 0
    """The chunk's number within the call, from 0. Set by the router."""
    restart: bool = False
    """Discard everything received so far: the answer starts over (only with ``stream: {on_break: restart}``)."""
    cost_usd: float | None = None
    """See `LLMResponse.cost_usd`; comes with the usage of the complete answer."""
    model: str | None = None
    request_bytes: int | None = field(default=None, repr=False)
    raw: Any = field(default=None, repr=False, compare=False)
    """The vendor's event, decoded."""
    details: AnswerDetails | None = field(default=None, repr=False)
    """The other contents of the complete answer; comes once, with one of its last pieces."""
    output_in_raw: bool = False
    """Whether `raw` holds a part of the answer that has no field here: a picture, a signature, a citation.

    Once the answer ends, `details` has the parts that the router knows.
    """

    @property
    def is_output(self) -> bool:
        """Whether it carries a part of the answer: text, reasoning, a tool call, or a part that only `raw` holds."""
        return bool(self.text or self.reasoning or self.tool_calls or self.output_in_raw)


make_chunk = late_maker(StreamChunk)
"""``make_chunk(text="yes")``: same as calling `StreamChunk`, but faster."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The content of a message with the role `tool`."""

    call_id: str
    """The `ToolCall.id` it answers; empty if the message names none."""
    text: str


def is_instruction(message: Message) -> bool:
    """Return whether the message instructs the model (`system` or `developer`) instead of being a conversation turn."""
    return message.get("role") in _INSTRUCTION_ROLES


def system_text(messages: Sequence[Message]) -> str:
    """Return the text of all instructions that are not blank, separated by empty lines; empty if there are none."""
    texts = [message_text(message) for message in messages if is_instruction(message)]
    return "\n\n".join(text for text in texts if text.strip())


def message_parts(message: Message) -> tuple[Mapping[str, Any], ...]:
    """Return the content of a message as parts, each with a `type`; plain text is one part of the type `text`.

    A part that is not a mapping counts as a part of unknown type, named after its Python type.
    """
    content = message.get("content")
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    if not isinstance(content, Sequence):
        return ()
    parts = (part if isinstance(part, Mapping) else {"type": type(part).__name__} for part in content)
    return tuple(part if "type" in part else {"type": "text", **part} for part in parts)


def message_text(message: Message) -> str:
    """Return the text of a message: its content, or its text parts joined by newlines."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


def message_tool_calls(message: Message) -> tuple[ToolCall, ...]:
    """Return the tool calls of an assistant message; a missing id or name is empty."""
    calls = message.get("tool_calls")
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        return ()
    return tuple(_tool_call(call) for call in calls if isinstance(call, Mapping))


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function")
    function = function if isinstance(function, Mapping) else {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        try:
            arguments = json.dumps(arguments or {}, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            from lee_llm_router.errors import InvalidRequestError  # noqa: PLC0415 - rare

            reason = f"the arguments of a tool call are not JSON ({type(error).__name__})"
            raise InvalidRequestError(reason, sent=False) from None
    return ToolCall(id=str(call.get("id") or ""), name=str(function.get("name") or ""), arguments=arguments)


def message_tool_result(message: Message) -> ToolResult | None:
    """Return the result in a message with the role `tool`; None for other messages."""
    if message.get("role") != "tool":
        return None
    return ToolResult(str(message.get("tool_call_id") or ""), message_text(message))


def needs_content_parts(messages: Sequence[Message]) -> bool:
    """Return whether any message has a part that is not text (an image, a file, audio)."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            continue
        if any(isinstance(part, Mapping) and part.get("type") != "text" for part in content or ()):
            return True
    return False
