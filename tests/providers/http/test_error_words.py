"""What a vendor says of a failure in words: sentences after the manner of many vendors, and what each one means."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_llm_router.errors import FailureType as F
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.openai.errors import failure


def failed(status: int, body: Any, headers: dict[str, str] | None = None) -> LLMRouterError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return failure(HTTPReply(status, raw, fields, now=1_800_000_000.0))


def said(status: int, sentence: str) -> LLMRouterError:
    return failed(status, {"error": {"message": sentence, "type": "invalid_request_error", "code": None}})


MEANT: dict[F, list[str]] = {
    F.CONTEXT_LENGTH: [
        "This model's maximum prompt length is 262144 but the request contains 301207 tokens.",
        "The input token count (2203311) exceeds the maximum number of tokens allowed (2097152).",
        "Input is too long for requested model.",
        "The decoder prompt (length 9044) is too long to fit into the model (context length 8192)",
        "Input length 70001 exceeds the maximum allowed input length of 65536 tokens.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and "
        "512 `max_new_tokens`",
        "Input tokens exceed the configured limit of 400000 tokens. Your messages resulted in 431992 tokens. Please "
        "reduce the length of the messages.",
        "The total length of all messages is too long.",
        "The prompt is longer than the maximum model length of 16384",
        "prompt is too long: 1203310 tokens > 1000000 maximum",
        "input length and `max_tokens` exceed context limit: 190240 + 21333 > 200000, decrease input length or "
        "`max_tokens` and try again",
        "litellm.ContextWindowExceededError: litellm.BadRequestError: this one does not fit",
        "Requested token count exceeds the model's maximum context length of 65536 tokens.",
        "Range of input length should be [1, 30720]",
        "Total tokens of image and text exceed max message tokens",
        "`inputs` must have less than 1024 tokens. Given: 1711",
        "Your conversation is too long for this model, start a new one.",
        "Please reduce the length of the prompt.",
        "messages too large: 250113 tokens, limit 200000",
        "Trying to keep the first 900 tokens when context the overflows.",
        "The number of tokens in the prompt (9121) is greater than the context window (8192).",
        "context size exceeded: n_ctx = 2048",
        "The request exceeds the available context size, try increasing it",
        "Input too large: the model accepts up to 32k tokens",
        "Error: token limit exceeded, the messages have 9000 tokens but 8000 are allowed",
        "输入内容过长，超出模型的最大上下文长度",
        "输入tokens超过模型上限",
        "Prompt exceeds max length",
    ],
    F.QUOTA: [
        "Your credit balance is too low to run this model. Please visit Plans & Billing.",
        "Insufficient balance or no resource package. Top up, please.",
        "Access denied, please make sure your account is in good standing.",
        "You have run out of credits. Add more at the dashboard.",
        "Insufficient account balance",
        "Your account org-81 is suspended due to insufficient balance, please recharge your account",
        "You have exhausted your monthly included credits for inference providers.",
        "Your subscription has expired, renew it to go on",
        "The free tier of your plan is used up; please upgrade.",
        "Billing hard limit has been reached",
        "You've reached your usage limit for this billing cycle",
        "Payment required: your invoice is overdue",
        "Budget has been exceeded! Current cost: 12.01, Max budget: 12.0",
        "Your prepayment credits are depleted.",
        "Your team has either used all available credits or reached its monthly spending limit.",
        "No payment method on file. Please add billing details.",
        "账户余额不足，请充值后重试",
        "您的账户已欠费",
        "当前令牌额度已用尽",
        "Not enough funds in your wallet",
        "quota exhausted for this project",
    ],
    F.MODEL_NOT_FOUND: [
        "Model Not Exist",
        "Invalid model name passed in model=gpt-99. Call `/v1/models` to see what there is.",
        "The model `mixtral-x` has been decommissioned and is no longer supported. See the docs for a replacement.",
        "Unknown model: o9-large",
        "The requested model 'org/name' is not supported by any provider you have enabled.",
        "You do not have access to the model gpt-9.",
        "Project `proj_1` does not have access to model `gpt-9`",
        "big-llm is not a valid model ID",
        "The model small-1 was retired on 2025-01-01.",
        "model 'nemo' not found, try pulling it first",
        "Unsupported model: claude-zero",
        "This model is deprecated, use its successor.",
        "No such model: x",
        "The model `gemma` is not available in your region.",
        "Model name tiny-2 is invalid",
        "No available channel for model gpt-9 under the group default",
        "The model or endpoint ep-2025 does not exist or you do not have access to it.",
        "models/gem-9 is not found for API version v1beta",
        "No models loaded. Please load a model in the developer page.",
        "The model has reached its end of life and is gone.",
        "模型不存在，请检查模型名称",
        "不支持的模型: abc",
        "The model `x-1` cannot be found. Please check that you have access to it.",
        "Your account is not authorized to use model `o9`",
    ],
    F.AUTH: [
        "Incorrect API key provided: xa***Q2. You can obtain one at the console.",
        "API key expired. Please renew the API key.",
        "API key not valid. Please pass a valid API key.",
        "Your API key was reported as leaked. Please use another API key.",
        "Invalid token",
        "The token has expired, log in again",
        "Missing bearer authentication in header",
        "You didn't provide an API key.",
        "No auth credentials found",
        "Invalid credentials supplied",
        "The access token is malformed or has been revoked",
        "User location is not supported for the API use.",
        "Country, region, or territory not supported",
        "This service is not available in your country",
        "Your account has been deactivated",
        "Authentication failed: signature mismatch",
        "无效的令牌",
        "API Key 无效或已过期",
        "invalid x-api-key",
    ],
    F.CONTENT_FILTER: [
        "Content Exists Risk",
        "Content violates usage guidelines. ",
        "Your request was rejected as a result of our safety system.",
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        "Input data may contain inappropriate content.",
        "The response was filtered due to the prompt triggering our content management policy.",
        "The request was rejected because it was considered high risk",
        "Output blocked by content filtering policy",
        "The prompt contains unsafe content",
        "litellm.ContentPolicyViolationError: refused",
        "Input text may contain sensitive information that violates our rules",
        "Moderation blocked the request",
        "The prompt was blocked due to safety reasons",
        "系统检测到输入或生成内容可能包含不安全或敏感内容",
        "内容违规，请修改",
        "Prohibited content was detected in the conversation",
    ],
    F.OVERLOADED: [
        "The flex tier is at capacity",
        "The server is busy, please try later.",
        "The engine is currently overloaded",
        "The model is temporarily unavailable because of high demand",
        "We have not enough capacity to serve this",
        "服务繁忙，请稍后重试",
    ],
    F.RATE_LIMIT: [
        "Rate limit reached for requests",
        "ThrottlingException: Too many tokens, please wait before trying again.",
        "Too many requests, slow down",
        "Requests per minute exceeded for your key",
        "Token limit exceeded: 40000 tokens per minute",
        "请求过于频繁，请稍后再试",
    ],
    F.INVALID_RESPONSE: [
        "Failed to call a function. Please adjust your prompt.",
        "Failed to generate JSON. Please adjust your prompt.",
        "Tool call validation failed: attempted to call tool 'x' which was not in request.tools",
        "The model produced an invalid tool call",
    ],
}
"""What each means in a 400."""

NOT_MEANT = [
    "max_tokens must be an integer",
    "max_tokens is too large: 200000. This model supports at most 98304 completion tokens, whereas you gave 200000.",
    "Invalid value for 'max_tokens': must be at most 8192 tokens",
    "max_new_tokens must be strictly positive",
    "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got one of "
    "length 91 instead.",
    "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40.",
    "tools.3.custom.description: description is too long",
    "temperature must be between 0 and 2",
    "Temperature out of range: 3.0 exceeds the maximum of 2.0",
    "top_p: input should be less than or equal to 1",
    "Invalid image: could not decode the data",
    "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 7340032 bytes > 5242880 bytes",
    "Image too large",
    "messages: role must be one of user, assistant, system, tool",
    "Invalid role: model. Valid roles are user and assistant.",
    "messages: first message must use the user role",
    "messages[1].content must be a string",
    "messages must not be empty",
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
    "This model does not support image input.",
    "The model `x` does not support tools.",
    "tool_choice is not supported for this model",
    "Function calling is not enabled for this model",
    "Unknown parameter: 'foo'.",
    "Unrecognized request argument supplied: foo",
    "Unexpected token < in JSON at position 4",
    "Invalid token in JSON at line 1 column 7",
    "JSON parse error: missing key 'content'",
    "Invalid key 'metadata.note': must match ^[a-z]+$",
    "Missing required key: messages",
    "logit_bias: token id 999999 exceeds the maximum vocabulary size",
    "Invalid schema for function 'pay': 'credit' is not of type 'object'",
    "thinking.budget_tokens: input should be greater than or equal to 1024",
    "max_tokens must be greater than thinking.budget_tokens",
    "n must be at most 8",
    "stop: at most 4 sequences are allowed",
    "An assistant message with 'tool_calls' must be followed by tool messages. Insufficient tool messages following.",
    "Invalid base64 in audio content",
    "Unsupported content type in message",
    "content: unsupported part 'video'",
    "Invalid value: 'insufficient account balance'. Supported values are: 'low', 'high'.",
    "messages[0].content: 'my API key is invalid and my credit is used up' is not a list",
    "stream_options.include_usage is only allowed with stream",
    "seed exceeds the maximum of 2147483647",
    "The tool schema violates the constraint: content is required",
    "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64.",
    "Model names are case sensitive",
    "Field required: messages.0.role",
    "The filter parameter is not allowed here",
    "Failed to parse the request body as JSON: expected value at line 1",
    "'user' is too long (max 64 characters)",
    "Too many images in request: 25 > 20",
    "presence_penalty is not supported by this model",
    "Number of tools exceeds the maximum of 128",
    "Bad request",
]
"""Mistakes in the request, whatever words they share with the others: INVALID_REQUEST in a 400."""


@pytest.mark.parametrize(("kind", "sentence"), [(kind, one) for kind, all_ in MEANT.items() for one in all_])
def test_a_sentence_says_the_cause_by_words_that_go_together(kind: F, sentence: str) -> None:
    error = said(400, sentence)
    assert error.failure_type is kind
    assert (error.status_code, error.final) == (400, False)


@pytest.mark.parametrize("sentence", NOT_MEANT)
def test_a_mistake_in_the_request_stays_one_whatever_its_words(sentence: str) -> None:
    assert said(400, sentence).failure_type is F.INVALID_REQUEST
    assert said(422, sentence).failure_type is F.INVALID_REQUEST
