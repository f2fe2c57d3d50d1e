"""Builds `raw` of a streamed answer in its unstreamed form. Pure, and done on access.

The parts of a candidate are concatenated, with pieces of one text joined; probabilities of tokens are appended;
everything else keeps its last value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.lenient_json import read_odd_json, whole_characters
from lee_llm_router.providers.http.dialects.gemini.answer_details import merged_parts
from lee_llm_router.providers.http.dialects.json_body import mapping


def merged_raw(bodies: Sequence[bytes]) -> dict[str, Any]:
    """Return the JSON objects of a stream as one."""
    whole: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    parts: dict[int, list[dict[str, Any]]] = {}
    for value in map(_object, bodies):
        whole.update((name, part) for name, part in value.items() if name != "candidates")
        listed = value.get("candidates")
        for candidate in listed if isinstance(listed, list) else ():
            if isinstance(candidate, dict):
                index = candidate.get("index")
                number = index if type(index) is int else 0
                _add(candidates.setdefault(number, {}), parts.setdefault(number, []), candidate)
    for number, candidate in candidates.items():
        if isinstance(candidate.get("content"), dict):
            candidate["content"] = {**candidate["content"], "parts": merged_parts(parts[number])}
    if candidates:
        whole["candidates"] = [candidate for _, candidate in sorted(candidates.items())]
    found: dict[str, Any] = whole_characters(whole)
    return found


def _object(body: bytes) -> dict[str, Any]:
    """Return an object; half a character stays one until it is joined to its other half."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError:
        value = read_odd_json(body)
    if isinstance(value, list):
        value = value[0]
    return value if isinstance(value, dict) else {}


def _add(known: dict[str, Any], parts: list[dict[str, Any]], candidate: Mapping[str, Any]) -> None:
    for name, part in candidate.items():
        if name == "content" and isinstance(part, dict):
            listed = part.get("parts")
            parts += [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else ()
            known["content"] = {**mapping(known.get("content")), **part}
        elif name == "logprobsResult" and isinstance(part, dict) and isinstance(known.get(name), dict):
            known[name] = _grown(known[name], part)
        elif name == "groundingMetadata" and isinstance(part, dict):
            known[name] = {**mapping(known.get(name)), **{key: inner for key, inner in part.items() if inner}}
        else:
            known[name] = part


def _grown(known: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the probabilities of tokens: those in `known`, then those in `newer`."""
    found = {**known, **newer}
    for name in ("chosenCandidates", "topCandidates"):
        lists = (known.get(name), newer.get(name))
        if all(isinstance(one, list) for one in lists):
            found[name] = [*known[name], *newer[name]]
    return found
