"""The forms in which to ask for JSON in a chat completion, and how a server says that it does not know one. Pure.

How this works. The strongest form is `json_schema`: the server enforces the schema. With `json_object` it enforces only
that the answer is a JSON object, and with `prompt` nothing; both need the schema in words, at the end of the system
text. The router checks the answer in any case.

`weaker_form` reads a 400 or 422. Servers share no error code for "I do not know this feature", but they all name it,
and say no near its name. One error must contain both. An error that blames the schema itself, or something else in the
request, does not refuse the feature: a weaker form would hide a mistake of the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pydantic_core import from_json

from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.json_schema import json_instructions, json_schema_of
from lee_llm_router.response.types import LLMRequest, Message, is_instruction

Form: TypeAlias = Literal["json_schema", "json_object", "prompt"]
"""How to ask for a JSON answer, the strongest first."""

FORMS: tuple[Form, ...] = ("json_schema", "json_object", "prompt")

Kind: TypeAlias = Literal["json_mode", "object", "other"]
"""What to ask for: any JSON, an object by a schema, or another value by a schema. A server may know a form for only one
of them."""

_READ = 8192
"""Characters to read of an error."""
_FEATURE = (
    r"response[_ ]?format|\btext\.format|json[_ ]?schema|json[_ ]?object|json[_ ]mode|structured[ _-]?outputs?"
    r"|guided[ _](?:json|decoding)"
)
_REFUSAL = (
    r"not (?:\w+ ){0,2}(?:supported|available|permitted|allowed|implemented|enabled|recogni[sz]ed|known)"
    r"|(?:not|n't) (?:\w+ )?(?:support|allow|accept|recogni[sz]e|implement)\b"
    r"|un(?:supported|available|known|recogni[sz]ed|expected|implemented)|disabled"
    r"|extra (?:inputs|fields)|extra_forbidden"
    r"|only (?:be )?(?:supported|available|allowed)|only supports?|supports? only"
    r"|(?:must|should) be (?:one of|either|text|['\"`])"
    r"|invalid (?:value|type|parameter|option)|not a valid (?:value|type)"
)
_REFUSED = re.compile(rf"(?:{_FEATURE}).{{0,160}}?(?:{_REFUSAL})|(?:{_REFUSAL}).{{0,160}}?(?:{_FEATURE})", re.DOTALL)
_BLAMES_SCHEMA = re.compile(
    r"(?:invalid|unsupported) (?:json )?schema\b|schema (?:is|was) (?:invalid|not valid)|in context="
)
_WANTS_OBJECT = re.compile(r"schema.{0,80}\bobject\b", re.DOTALL)


def kind_of(request: LLMRequest) -> Kind:
    """Return what kind of JSON `request` wants."""
    if request.schema is None:
        return "json_mode"
    schema = json_schema_of(request.schema)
    return "object" if schema.get("type") == "object" or "$ref" in schema else "other"


def form_of(kind: Kind, strongest: Form) -> Form:
    """Return the form to use, no stronger than `strongest`."""
    if strongest == "json_schema":
        return "json_object" if kind == "json_mode" else "json_schema"
    # A form that forces an object permits no other value.
    return "prompt" if kind == "other" else strongest


def weaker_form(kind: Kind, form: Form, reply: HTTPReply) -> Form | None:
    """Return the next weaker form if `reply` refuses the feature that `form` uses; otherwise None."""
    if form == "prompt" or reply.status not in (400, 422) or not _refuses(kind, reply.body):
        return None
    return form_of(kind, "json_object") if form == "json_schema" else "prompt"


def with_instructions(messages: Sequence[Message], request: LLMRequest) -> tuple[Message, ...]:
    """Return `messages` with a prompt for the JSON of `request`, at the end of the system text."""
    words = json_instructions(request)
    first = messages[0] if messages else {}
    if not is_instruction(first):
        return ({"role": "system", "content": words}, *messages)
    content = first.get("content")
    if isinstance(content, str):
        added: Any = f"{content}\n\n{words}" if content.strip() else words
    else:
        added = [*(content or ()), {"type": "text", "text": words}]
    return ({**first, "content": added}, *messages[1:])


def _refuses(kind: Kind, body: bytes) -> bool:
    for _, text in error_texts(body):
        error = text.lower()[:_READ]
        blames_schema = _BLAMES_SCHEMA.search(error) is not None
        if kind == "other" and (blames_schema or _REFUSED.search(error)) and _WANTS_OBJECT.search(error):
            return True
        if not blames_schema and _REFUSED.search(error):
            return True
    return False


def error_texts(body: bytes) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield each error in `body`: its fields, and its text with those that say what it is about."""
    try:
        value = from_json(body)
    except ValueError:
        yield {}, body[:_READ].decode("utf-8", "replace")
        return
    queue = [value]
    while queue:
        current = queue.pop(0)
        if isinstance(current, str):
            yield {}, current
        elif isinstance(current, list):
            queue += current
        elif isinstance(current, dict):
            named = (current.get(name) for name in ("param", "loc", "code", "type", "message", "msg"))
            texts = (" ".join(map(str, one)) if isinstance(one, list) else one for one in named)
            yield current, " ".join(text for text in texts if isinstance(text, str))
            queue += [current[name] for name in ("error", "detail", "errors") if name in current]
            if isinstance(current.get("message"), (dict, list)):  # Mistral
                queue.append(current["message"])
