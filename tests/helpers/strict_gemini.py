"""What Google's servers check of a request, and answers of theirs with signatures and calls: for tool loops in tests.

`check` returns the sentence of a 400, or None. `state` is one conversation's memory: the signatures given out.
"""

from __future__ import annotations

import json
import re
from typing import Any

from helpers.gemini_wire import answer, call, events, piece, text, thought, whole

SKIP = "skip_thought_signature_validator"
_TOP = {
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent",
    "serviceTier", "continuationToken", "labels", "store",
}  # fmt: skip
_GENERATION = {
    "temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "responseLogprobs", "logprobs",
    "presencePenalty", "frequencyPenalty", "seed", "responseMimeType", "responseJsonSchema", "responseModalities",
    "thinkingConfig", "mediaResolution", "speechConfig", "imageConfig",
}  # fmt: skip
_PARTS = {
    "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult",
}  # fmt: skip
_FIELDS = {
    "functionCall": {"id", "name", "args"}, "functionResponse": {"id", "name", "response", "parts"},
    "inlineData": {"mimeType", "data", "displayName"}, "fileData": {"mimeType", "fileUri", "displayName"},
}  # fmt: skip
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_PATH = re.compile(r"/(?:.*/)?models/([^/:]+):(generateContent|streamGenerateContent\?alt=sse)$")


def check(body: dict[str, Any], path: str, state: dict[str, Any]) -> str | None:
    """Return why Google would refuse the request; None if it would not."""
    found = _PATH.search(path)
    if found is None:
        return f"no such path: {path}"
    state["model"] = found[1]
    unknown = (body.keys() - _TOP) | ((body.get("generationConfig") or {}).keys() - _GENERATION)
    if unknown:
        return f"Invalid JSON payload received. Unknown name {sorted(unknown)}: Cannot find field."
    return (
        _wrong_options(body) or _wrong_contents(body.get("contents")) or _wrong_calls(body["contents"])
        or _wrong_signatures(body["contents"], state)
    )  # fmt: skip


def _wrong_options(body: dict[str, Any]) -> str | None:
    system, generation = body.get("systemInstruction"), body.get("generationConfig", {})
    if system is not None and not all((part.get("text") or "").strip() for part in system["parts"] or [{}]):
        return "systemInstruction must have text parts"
    if "responseJsonSchema" in generation and generation.get("responseMimeType") != "application/json":
        return "response_json_schema needs response_mime_type application/json"
    if len(generation.get("stopSequences", ())) > 5:
        return "at most 5 stop sequences"
    functions = [one for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
    if "toolConfig" in body and not functions:
        return "Function calling config is set without function_declarations."
    names = [function.get("name", "") for function in functions]
    if len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)):
        return f"Invalid function name: {names}"
    if any(function.keys() - {"name", "description", "parametersJsonSchema"} for function in functions):
        return "Unknown name at 'tools[0].function_declarations[0]'"
    allowed = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if allowed.get("allowedFunctionNames") and (
        allowed["mode"] != "ANY" or set(allowed["allowedFunctionNames"]) - {*names}
    ):
        return "allowed_function_names"
    return None


def _wrong_contents(contents: Any) -> str | None:
    if not isinstance(contents, list) or not contents:
        return "contents is not specified"
    roles = [content.get("role") for content in contents]
    if roles != [("user", "model")[number % 2] for number in range(len(roles))] or roles[-1] != "user":
        return f"Please ensure that multiturn requests alternate between user and model: {roles}"
    for index, content in enumerate(contents):
        if not isinstance(content.get("parts"), list) or not content["parts"] or content.keys() - {"role", "parts"}:
            return f"contents[{index}].parts must not be empty"
        for part in content["parts"]:
            wrong = _wrong_part(part, content["role"])
            if wrong is not None:
                return f"contents[{index}]: {wrong}"
    return None


def _wrong_part(part: dict[str, Any], role: str) -> str | None:
    kinds = part.keys() & _PARTS
    if len(kinds) != 1 or part.keys() - _PARTS - {"thought", "thoughtSignature"}:
        return f"a part must have exactly one initialized field: {sorted(part)}"
    kind = kinds.pop()
    if kind == "text":
        return None if part["text"].strip() or "thoughtSignature" in part or role == "model" else "an empty text"
    if not isinstance(part[kind], dict) or part[kind].keys() - _FIELDS.get(kind, part[kind].keys()):
        return f"Unknown name in {kind}: {part[kind]}"
    if kind in ("functionCall", "functionResponse"):
        value = part[kind]["args" if kind == "functionCall" else "response"]
        if not isinstance(value, dict) or not _NAME.fullmatch(part[kind]["name"]):
            return f"Proto field is not repeating, cannot start list: {part}"
        if (kind == "functionCall") != (role == "model"):
            return f"{kind} in a turn of the {role}"
    return (
        None if kind != "inlineData" or (part[kind].get("mimeType") and part[kind].get("data")) else "empty inlineData"
    )


def _wrong_calls(contents: list[dict[str, Any]]) -> str | None:
    ids: list[str] = []
    for before, content in zip([{"parts": []}, *contents], contents, strict=False):
        asked = [part["functionCall"] for part in before["parts"] if "functionCall" in part]
        given = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        ids += [function["id"] for function in asked if "id" in function]
        if len(asked) != len(given):
            return (
                "Please ensure that the number of function response parts is equal to the number of function call parts"
                " of the function call turn."
            )
        if [(one.get("id"), one["name"]) for one in asked] != [(one.get("id"), one["name"]) for one in given]:
            return "the results do not follow the calls"
        if any("functionResponse" not in part for part in content["parts"][: len(given)]):
            return "results must stand first"
    return "ids that come twice" if len(set(ids)) < len(ids) else None


def _wrong_signatures(contents: list[dict[str, Any]], state: dict[str, Any]) -> str | None:
    given: dict[str, str] = state.setdefault("signed", {})
    """The parts that this server has given, without their signatures, and these."""
    for content in contents:
        firsts = [part for part in content["parts"] if "functionCall" in part][:1]
        for part in content["parts"]:
            plain = json.dumps({k: v for k, v in part.items() if k != "thoughtSignature"}, sort_keys=True)
            signature = part.get("thoughtSignature")
            if signature == SKIP and "functionCall" in part and plain not in given:
                continue
            if signature is not None and given.get(plain) != signature:
                return "Corrupted thought signature."
            if signature is None and given.get(plain):
                return "Thought signature is lost."
        if firsts and "thoughtSignature" not in firsts[0] and _generation_of(state["model"]) >= 3:
            return "Function call is missing a thought_signature in functionCall parts."
    return None


def _generation_of(model: str) -> int:
    found = re.match(r"gemini-(\d+)", model)
    return int(found[1]) if found else 0


def answers(turn: int, stream: bool, state: dict[str, Any]) -> bytes:
    """Return the body of the answer of `turn`, 1 to 3: thoughts and two calls, a text and one call, a text."""
    parts = {
        1: [
            thought("I need both."),
            call("get_weather", {"city": "Köln"}, call_id="g-1", thoughtSignature="c2lnLTE="),
            call("get_weather", {"city": "Rome"}, call_id="g-2"),
        ],
        2: [text("One more look. "), call("get_time", {}, thoughtSignature="c2lnLTI=")],
        3: [text("It is "), text("warm.", thoughtSignature="c2lnLTM=")],
    }[turn]
    signed = state.setdefault("signed", {})
    for part in parts:
        plain = {name: value for name, value in part.items() if name != "thoughtSignature"}
        if "thoughtSignature" in part:
            signed[json.dumps(plain, sort_keys=True)] = part["thoughtSignature"]
    if not stream:
        return whole(answer(*parts))
    return events(*(piece(part) for part in parts[:-1]), answer(parts[-1]))
