"""Writes the headers that all of OpenAI's APIs share. Pure."""

from __future__ import annotations

from lee_llm_router.providers.http.dialects import sse


def openai_headers(key: str | None, *, organization: str | None, project: str | None, stream: bool) -> dict[str, str]:
    """Return the key as a bearer token, its organization and project, and the accepted content types."""
    found = {
        "Authorization": f"Bearer {key}" if key else None,
        "OpenAI-Organization": organization,
        "OpenAI-Project": project,
        "Accept": sse.ACCEPT if stream else None,
    }
    return {name: value for name, value in found.items() if value}
