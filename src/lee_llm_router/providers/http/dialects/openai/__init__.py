"""OpenAI-compatible APIs."""
