"""What one model of a vendor cannot take, another one may: tools, pictures."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import Received, Server, answering_by, completion, json_answer
from lee_llm_router import InvalidRequestError, LeeLLMRouter

LACKS = [
    (400, "This model does not support tools."),
    (400, "Function calling is not supported by this model"),
    (400, "image input is not supported - hint: you may need to provide the mmproj"),
    (400, "`tools` is not supported in this model. For a list of supported models refer to the documentation."),
    (404, "No endpoints found that support image input"),
    (422, "vision is not supported for model x"),
]
OTHERS = [(400, "messages: at least one message is required"), (400, "Unknown parameter: 'foo'."), (422, "bad")]


def _asked(status: int, text: str) -> list[str]:
    """Return the models that were asked, where the first of two refuses with `text`."""
    models: list[str] = []

    def script(received: Received) -> bytes:
        models.append(received.json["model"])
        if models[-1] == "small":
            return json_answer({"error": {"message": text}}, status)
        return json_answer(completion("seen"))

    with Server(answering_by(script)) as server:
        role: dict[str, Any] = {"provider": "p", "model": "small"}
        role["fallback_providers"] = [{"provider": "p", "model": "large"}]
        providers = {"p": {"type": "http", "base_url": server.url}}
        with LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}}}) as router:
            assert router.complete("r", "hi").text == "seen"
    return models


@pytest.mark.parametrize(("status", "text"), LACKS)
def test_another_model_of_the_same_vendor_is_asked(status: int, text: str) -> None:
    assert _asked(status, text) == ["small", "large"]


@pytest.mark.parametrize(("status", "text"), OTHERS)
def test_a_request_that_is_wrong_for_all_is_not_sent_again(status: int, text: str) -> None:
    with pytest.raises(InvalidRequestError):
        _asked(status, text)
