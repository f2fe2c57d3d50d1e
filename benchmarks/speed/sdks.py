"""The call on the libraries people use instead, with a fallback where they have one and all else as it comes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from speed.subject import Made, Wanted
from speed.wire import KEY, MESSAGES, MODEL, PAYLOAD


def with_openai(wanted: Wanted) -> Made:
    """The vendor's SDK: retries, but no fallbacks."""
    openai = import_module("openai")
    if wanted.case == "sync":
        blocking = openai.OpenAI(base_url=f"{wanted.url}/v1", api_key=KEY)
        return Made(ask_sync=lambda: _text(blocking.chat.completions.create(**PAYLOAD)))
    client = openai.AsyncOpenAI(base_url=f"{wanted.url}/v1", api_key=KEY)

    async def ask() -> str:
        return _text(await client.chat.completions.create(**PAYLOAD))

    async def stream() -> int:
        return await _pieces(await client.chat.completions.create(**PAYLOAD, stream=True))

    return Made(ask=ask, stream=stream)


def with_litellm(wanted: Wanted) -> Made:
    """litellm's Router, with a fallback."""
    litellm = import_module("litellm")
    where = {"model": f"openai/{MODEL}", "api_base": f"{wanted.url}/v1", "api_key": KEY}
    models = [{"model_name": name, "litellm_params": where} for name in ("main", "spare")]
    router = litellm.Router(model_list=models, fallbacks=[{"main": ["spare"]}])
    asked: dict[str, Any] = {**PAYLOAD, "model": "main"}

    def ask_sync() -> str:
        return _text(router.completion(**asked))

    async def ask() -> str:
        return _text(await router.acompletion(**asked))

    async def stream() -> int:
        return await _pieces(await router.acompletion(**asked, stream=True))

    return Made(ask=ask, ask_sync=ask_sync, stream=stream)


def with_langchain(wanted: Wanted) -> Made:
    """langchain's `with_fallbacks`."""
    module = import_module("langchain_openai")
    main, spare = (
        module.ChatOpenAI(model=MODEL, temperature=0.2, base_url=f"{wanted.url}/v1", api_key=KEY) for _ in range(2)
    )
    chain = main.with_fallbacks([spare])

    def ask_sync() -> str:
        return _langchain_text(chain.invoke(MESSAGES))

    async def ask() -> str:
        return _langchain_text(await chain.ainvoke(MESSAGES))

    return Made(ask=ask, ask_sync=ask_sync)


def with_pydantic_ai(wanted: Wanted) -> Made:
    """pydantic-ai's FallbackModel, asked directly: without an agent around it."""
    direct = import_module("pydantic_ai.direct")
    messages = import_module("pydantic_ai.messages")
    model_class = import_module("pydantic_ai.models.openai").OpenAIChatModel
    provider = import_module("pydantic_ai.providers.openai").OpenAIProvider(base_url=f"{wanted.url}/v1", api_key=KEY)
    fallback_class = import_module("pydantic_ai.models.fallback").FallbackModel
    model = fallback_class(model_class(MODEL, provider=provider), model_class(MODEL, provider=provider))
    settings = {"temperature": 0.2}
    parts = [messages.SystemPromptPart(MESSAGES[0]["content"]), messages.UserPromptPart(MESSAGES[1]["content"])]
    asked = [messages.ModelRequest(parts=parts)]

    async def ask() -> str:
        response = await direct.model_request(model, asked, model_settings=settings)
        assert response.usage.output_tokens
        text: str = response.text
        return text

    async def stream() -> int:
        pieces = 0
        async with direct.model_request_stream(model, asked, model_settings=settings) as events:
            async for event in events:
                pieces += type(event).__name__ in ("PartStartEvent", "PartDeltaEvent")
        return pieces

    return Made(ask=ask, stream=stream)


def with_any_llm(wanted: Wanted) -> Made:
    """any-llm: one interface over the vendors' SDKs, no fallbacks."""
    client = import_module("any_llm").AnyLLM.create("openai", api_key=KEY, api_base=f"{wanted.url}/v1")

    async def ask() -> str:
        return _text(await client.acompletion(**PAYLOAD))

    return Made(ask=ask)


def _text(answer: Any) -> str:
    assert answer.usage.total_tokens
    text: str = answer.choices[0].message.content
    return text


def _langchain_text(answer: Any) -> str:
    assert answer.usage_metadata["total_tokens"]
    text: str = answer.content
    return text


async def _pieces(chunks: Any) -> int:
    pieces = 0
    async for chunk in chunks:
        pieces += bool(chunk.choices and chunk.choices[0].delta.content)
    return pieces
