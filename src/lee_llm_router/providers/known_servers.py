"""Where well-known servers have their OpenAI-compatible API: for those who name a vendor as a provider's type.

A supplement to the rule that every server with such an API is of type ``http``. The addresses are those that the
vendors document for it.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class KnownServer(NamedTuple):
    """The address of a server, and the environment variable that its key is usually in."""

    base_url: str
    key_variable: str | None = None


_SERVERS = {
    "anthropic": KnownServer("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "anyscale": KnownServer("https://api.endpoints.anyscale.com/v1", "ANYSCALE_API_KEY"),
    "azure": KnownServer("https://RESOURCE.openai.azure.com/openai/v1", "AZURE_OPENAI_API_KEY"),
    "bedrock": KnownServer("https://bedrock-runtime.REGION.amazonaws.com/openai/v1", "AWS_BEARER_TOKEN_BEDROCK"),
    "cerebras": KnownServer("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "cohere": KnownServer("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "dashscope": KnownServer("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    "databricks": KnownServer("https://WORKSPACE.cloud.databricks.com/serving-endpoints", "DATABRICKS_TOKEN"),
    "deepinfra": KnownServer("https://api.deepinfra.com/v1/openai", "DEEPINFRA_TOKEN"),
    "deepseek": KnownServer("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "docker": KnownServer("http://localhost:12434/engines/v1"),
    "fireworks": KnownServer("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "gemini": KnownServer("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "github": KnownServer("https://models.github.ai/inference", "GITHUB_TOKEN"),
    "groq": KnownServer("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "huggingface": KnownServer("https://router.huggingface.co/v1", "HF_TOKEN"),
    "hyperbolic": KnownServer("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    "jan": KnownServer("http://localhost:1337/v1"),
    "litellm": KnownServer("http://localhost:4000/v1", "LITELLM_API_KEY"),
    "llamacpp": KnownServer("http://localhost:8080/v1"),
    "llamafile": KnownServer("http://localhost:8080/v1"),
    "lmstudio": KnownServer("http://localhost:1234/v1"),
    "localai": KnownServer("http://localhost:8080/v1"),
    "minimax": KnownServer("https://api.minimax.io/v1", "MINIMAX_API_KEY"),
    "mistral": KnownServer("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "moonshot": KnownServer("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    "nebius": KnownServer("https://api.studio.nebius.com/v1", "NEBIUS_API_KEY"),
    "novita": KnownServer("https://api.novita.ai/v3/openai", "NOVITA_API_KEY"),
    "nvidia": KnownServer("https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
    "ollama": KnownServer("http://localhost:11434/v1"),
    "openai": KnownServer("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "openrouter": KnownServer("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": KnownServer("https://api.perplexity.ai", "PERPLEXITY_API_KEY"),
    "sambanova": KnownServer("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "scaleway": KnownServer("https://api.scaleway.ai/v1", "SCW_SECRET_KEY"),
    "sglang": KnownServer("http://localhost:30000/v1"),
    "siliconflow": KnownServer("https://api.siliconflow.com/v1", "SILICONFLOW_API_KEY"),
    "textgenerationwebui": KnownServer("http://localhost:5000/v1"),
    "tgi": KnownServer("http://localhost:8080/v1"),
    "together": KnownServer("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "vercel": KnownServer("https://ai-gateway.vercel.sh/v1", "AI_GATEWAY_API_KEY"),
    "vertex": KnownServer(
        "https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/endpoints/openapi",
        "VERTEX_ACCESS_TOKEN",
    ),
    "vllm": KnownServer("http://localhost:8000/v1"),
    "xai": KnownServer("https://api.x.ai/v1", "XAI_API_KEY"),
    "xinference": KnownServer("http://localhost:9997/v1"),
    "zhipu": KnownServer("https://open.bigmodel.cn/api/paas/v4", "ZHIPUAI_API_KEY"),
}

_OTHER_NAMES = {
    "alibaba": "dashscope", "qwen": "dashscope", "aws": "bedrock", "amazon": "bedrock", "claude": "anthropic",
    "google": "gemini", "googleai": "gemini", "googlegenai": "gemini", "palm": "gemini", "googlevertex": "vertex",
    "vertexai": "vertex", "grok": "xai", "hf": "huggingface", "kimi": "moonshot", "moonshotai": "moonshot",
    "glm": "zhipu", "zai": "zhipu", "zhipuai": "zhipu", "gpt": "openai", "chatgpt": "openai", "azureai": "azure",
    "openaiazure": "azure", "azureopenai": "azure", "llama": "llamacpp", "llamaserver": "llamacpp",
    "litellmproxy": "litellm", "nvidianim": "nvidia", "nim": "nvidia", "togetherai": "together",
    "fireworksai": "fireworks", "mistralai": "mistral", "githubmodels": "github", "vercelai": "vercel",
    "textgenerationinference": "tgi", "oobabooga": "textgenerationwebui", "dockermodelrunner": "docker",
    "amazonbedrock": "bedrock", "awsbedrock": "bedrock", "perplexityai": "perplexity", "pplx": "perplexity",
}  # fmt: skip

_NOT_A_LETTER = re.compile(r"[^a-z0-9]")
_ENDINGS = ("", "chat", "api", "llm", "http", "compatible", "cloud", "server", "provider", "local")


def known_server(name: str) -> KnownServer | None:
    """Return the server that the vendor's or program's `name` means, however it is written; None if it is not known."""
    if len(name) > 64:
        return None
    plain = _NOT_A_LETTER.sub("", name.lower())
    for ending in _ENDINGS:
        if plain.endswith(ending) and (short := plain.removesuffix(ending)):
            found = _SERVERS.get(_OTHER_NAMES.get(short, short))
            if found is not None:
                return found
    return None


def hint_for_type(name: str) -> str:
    """Return how to reach the server that somebody has written as a provider's type, as the end of a finding."""
    server = known_server(name)
    if server is None:
        return (
            " (any server with an OpenAI-compatible API is"
            " {type: http, base_url: https://SERVER/v1, api_key_env: NAME_OF_A_VARIABLE})"
        )
    key = "" if server.key_variable is None else f", api_key_env: {server.key_variable}"
    return f" (write {{type: http, base_url: {server.base_url}{key}}})"
