"""Maps words of other libraries to ours: for people who write from habit, or migrate a configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lee_llm_router._util.late_pattern import late_pattern

_HERE: dict[str, str] = {
    # "name here|where it belongs|note": the words of litellm, the OpenAI SDK, LangChain, pydantic-ai and others
    "fallback_providers|a role|": "fallbacks fallback fallback_models fallback_model model_fallbacks"
    " context_window_fallbacks content_policy_fallbacks default_fallbacks backup backups alternatives",
    "retry: {attempts: ...}|a role|the first one counted": "max_retries num_retries retries retry_count"
    " max_retry_attempts max_attempts retry_policy retry_attempts",
    "retry: {backoff: ...}|a role|": "retry_delay retry_after retry_interval retry_wait backoff_factor"
    " retry_strategy cooldown_between_retries",
    "schema|a role or a call|or json_mode: true": "response_format response_model response_schema output_schema"
    " output_type result_type result_schema json_schema structured_output structured_outputs output_format"
    " response_mime_type pydantic_model format text_format guided_json",
    "base_url|a provider|": "api_base base uri base_uri endpoint endpoint_url azure_endpoint host hostname server"
    " server_url url api_url api_endpoint api_host openai_api_base address",
    "api_key_env|a provider|the name of the environment variable; or api_key_file": "api_key apikey key token"
    " api_token auth_token access_token secret bearer auth credentials api_keys openai_api_key anthropic_api_key"
    " azure_ad_token",
    "providers and roles: a provider says where, a role which model||": "model_list models deployments model_group"
    " model_groups litellm_params model_info router_settings litellm_settings general_settings model_group_alias"
    " clients llms model_aliases",
    "timeout|a role or a call|in seconds": "request_timeout timeout_seconds timeout_s read_timeout call_timeout"
    " timeout_ms api_timeout http_timeout default_timeout connect_timeout",
    "deadline|a role or a call|in seconds": "total_timeout max_time time_limit overall_timeout max_execution_time",
    "stream: {first_token_timeout: ..., idle_timeout: ...}|a role|": "stream_timeout streaming_timeout",
    "query|a provider of type http|": "api_version default_query query_params query_parameters params",
    "organization|a provider of type http|": "organization organization_id org org_id openai_organization",
    "project|a provider of type http|": "project_id openai_project",
    "model|a provider, a role or a call|": "default_model deployment_id deployment deployment_name azure_deployment"
    " engine model_name model_id model_alias llm model_version",
    "max_tokens|a role or a call|": "max_completion_tokens max_output_tokens max_new_tokens max_tokens_to_sample"
    " num_predict max_length maxtokens max_gen_len max_response_tokens",
    "temperature|a role or a call|": "temp",
    "top_p|a role or a call|": "topp nucleus p",
    "stop|a role or a call|": "stop_sequences stop_words stop_tokens stop_sequence",
    "seed|a role or a call|": "random_seed",
    "reasoning_effort|a role or a call|": "reasoning thinking effort thinking_budget reasoning_budget"
    " thinking_config budget_tokens reasoning_tokens think",
    "headers|a provider, a role or a call|": "default_headers extra_headers custom_headers http_headers"
    " request_headers",
    "extra_body|a provider, a role or a call|": "model_kwargs extra_args kwargs extra_params additional_kwargs"
    " optional_params extra options",
    "extra_body: {WORD: ...}|a provider, a role or a call|": "min_p top_a n repetition_penalty repeat_penalty"
    " logit_bias user store modalities verbosity"
    " num_ctx prediction safety_settings generation_config",
    "max_concurrency|a provider|": "max_parallel_requests concurrency max_concurrent_requests parallelism"
    " max_workers max_connections pool_size",
    "api_key_env: [..., ...]|a provider|the names of environment variables": "api_key_envs api_key_list key_pool",
    "tpm|a provider|": "tokens_per_minute max_tokens_per_minute token_limit token_rate_limit",
    "rpm|a provider|": "requests_per_minute rate_limit max_requests_per_minute requests_per_second rps",
    "health: {cooldown: ...}||": "cooldown_time cooldown_seconds circuit_breaker disable_cooldowns",
    "health: {failures_in_a_row: ...}||": "allowed_fails failure_threshold max_failures error_threshold",
    "hedge: {after: ...}|a role or a call|": "hedging hedged hedge_after hedge_delay speculative_retry"
    " speculative_execution",
    "policy||": "routing_strategy strategy router routing load_balancing",
    "the order of fallback_providers|a role|": "weight weights order priority",
    "sinks, or event_sink in code||": "callbacks callback success_callback failure_callback callback_manager hooks",
    "metadata|a role or a call|": "tags labels trace_id run_name session_id",
    "trace: {capture: ...} and trace: {dir: ...}||": "logging log log_file tracing store_prompts log_dir",
    "trace: {max_mb: ...}||": "max_size max_size_mb max_file_size",
    "trace: {keep_days: ...}||": "retention retention_days",
    "accept: {min_chars: ...}|a role or a call|": "min_length minimum_length min_len",
    "type|a provider|": "custom_llm_provider llm_provider model_provider provider_type api_type backend vendor kind",
    "tools|a call|": "functions tool toolset bind_tools",
    "tool_choice|a call|": "function_call force_tool",
    "router.stream(...), in code||": "stream streaming",
    "a message {role: system, content: ...} of the call||": "system system_prompt instructions system_message"
    " system_instruction preamble developer_prompt prompt_template",
    "the argument messages of the call||": "prompt messages input contents history chat_history query question",
    "ca_file|a provider|": "ssl_verify verify_ssl verify ssl_cert_file ca_bundle cert_file ca_cert",
    "the environment variables HTTPS_PROXY and NO_PROXY||": "proxy proxies http_proxy https_proxy proxy_url",
    "a provider of type mock||": "mock_response mock",
    "roles: each sets its own||": "defaults default_params default_settings",
}

_BY_WORD = {word: here for here, words in _HERE.items() for word in words.split()}

_INNER = late_pattern(r"\{(\w+): \.\.\.")
_CAMEL = late_pattern(r"(?<=[a-z0-9])(?=[A-Z])")
_VENDORS = ("openai_", "azure_", "anthropic_", "litellm_", "llm_", "default_")


def peer_hint(word: object, known: Collection[str] = (), place: str = "") -> str:
    """Return `` (here: ...)`` with our name for `word`, a word of other libraries; empty if it is no such word.

    Words in camel case, with hyphens or with a vendor's name in front count as their plain form.

    Args:
        word: What was written.
        known: The names allowed where it was written; they are shown without their place.
        place: Where it was written (``provider``, ``role``, ``call``). A name that belongs there but is not in `known`
            does not exist for this kind of it (a provider without a key), and is not shown.
    """
    if not isinstance(word, str) or len(word) > 64:
        return ""
    for form in _forms(word):
        if form in known and form != word:
            return f" (did you mean {form!r}?)"
        if form in _BY_WORD:
            return _hint(form, known, place)
    return ""


def _hint(word: str, known: Collection[str], place: str) -> str:
    name, places, note = _BY_WORD[word].split("|")
    note = f", {note}" if note else ""
    inner = _INNER.search(name)
    if inner is not None and inner[1] in known:
        return f" (here: {inner[1]}{note})"
    outer = name.partition(":")[0]
    if outer in known and places:
        return f" (here: {name.replace('WORD', word)}{note})"
    if name.isidentifier() and place and f" {place}" in places:
        return ""
    return f" (here: {name.replace('WORD', word)}{f', of {places}' if places else ''}{note})"


def _forms(word: str) -> Iterator[str]:
    plain = _CAMEL.sub("_", word.strip()).lower().replace("-", "_").replace(".", "_").replace(" ", "_")
    yield plain
    for vendor in _VENDORS:
        if plain.startswith(vendor):
            yield plain.removeprefix(vendor)
