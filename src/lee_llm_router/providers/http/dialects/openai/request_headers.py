"""Writes the headers that all APIs of OpenAI's share. Pure."""

from __future__ import annotations

from lee_llm_router.providers.http.dialects import sse


def openai_headers(key: str | None, *, organization: str | None, project: str | None, stream: bool) -> dict[str, str]:
    """Return the key as a bearer token, the organization and project it is used for, and what is accepted."""
    found = {
        "Authorization": f"Bearer {key}" if key else None,
        "OpenAI-Organization": organization,
        "OpenAI-Project": project,
        "Accept": sse.ACCEPT if stream else None,
    }
    return {name: value for name, value in found.items() if value}
