"""The engine `vendor` says what the vendor's own SDK says; and the SDK reads what our servers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.support import FakeClock
from helpers.vendor_batches import KEY, MODELS, VendorServer
from lee_llm_router import LeeLLMRouter

ROWS = [{"id": "a", "prompt": "good"}, {"id": "b", "prompt": "error"}]


@pytest.fixture
def asked(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that has served a batch of ours."""
    monkeypatch.setenv("VENDOR_KEY", KEY)
    with VendorServer(request.param) as server:
        router = LeeLLMRouter({"llm": server.config()}, trace_store=False, clock=FakeClock())
        with router:
            router.batch(ROWS, out=tmp_path / "out.jsonl", engine="vendor")
        yield server


@pytest.mark.parametrize("asked", ["openai"], indirect=True)
def test_openai_s_sdk_says_and_reads_the_same(asked: VendorServer, tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    file = tmp_path / "requests.jsonl"
    (_, content), *_ = asked.files.values()
    file.write_bytes(content)
    with openai.OpenAI(api_key=KEY, base_url=asked.url) as client:
        uploaded = client.files.create(file=file, purpose="batch")
        made = client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
        )
        for _ in range(2):
            made = client.batches.retrieve(made.id)
        assert made.status == "completed" and client.batches.list().data[0].id == made.id
        lines = client.files.content(made.output_file_id).text.splitlines()
    assert {json.loads(line)["custom_id"] for line in lines} < {
        json.loads(line)["custom_id"] for line in content.splitlines()
    } | {"somebody-elses"}
    ours, theirs = asked.bodies["create"][0], asked.bodies["create"][-1]
    assert ours.keys() == theirs.keys()
    assert asked.files[uploaded.id][1] == content


@pytest.mark.parametrize("asked", ["anthropic"], indirect=True)
def test_anthropic_s_sdk_says_and_reads_the_same(asked: VendorServer) -> None:
    anthropic = pytest.importorskip("anthropic")
    ours = asked.bodies["create"][0]
    with anthropic.Anthropic(api_key=None, auth_token=KEY, base_url=asked.url.removesuffix("/v1")) as client:
        made = client.messages.batches.create(requests=ours["requests"])
        for _ in range(2):
            made = client.messages.batches.retrieve(made.id)
        assert made.processing_status == "ended"
        assert client.messages.batches.list().data[0].id == made.id
    assert asked.bodies["create"][-1] == ours
    reader = anthropic.types.messages.MessageBatchIndividualResponse
    results = [reader.model_validate(json.loads(line)) for line in asked.lines_of(made.id).splitlines()]
    assert {one.result.type for one in results} == {"succeeded", "errored"}


@pytest.mark.parametrize("asked", ["gemini"], indirect=True)
def test_google_s_sdk_says_and_reads_the_same(asked: VendorServer) -> None:
    genai = pytest.importorskip("google.genai")
    ours = asked.bodies["create"][0]
    options = genai.types.HttpOptions(base_url=asked.url.removesuffix("/v1beta"), api_version="v1beta")
    client = genai.Client(api_key=KEY, http_options=options)
    requests = [{"contents": [{"role": "user", "parts": [{"text": "good"}]}], "metadata": {"key": "k"}}]
    made = client.batches.create(model=MODELS["gemini"], src=requests, config={"display_name": "n"})
    theirs = asked.bodies["create"][-1]
    assert theirs["batch"].keys() == ours["batch"].keys()
    one, other = (body["batch"]["inputConfig"]["requests"]["requests"][0] for body in (ours, theirs))
    assert one.keys() == other.keys() and one["metadata"].keys() == other["metadata"].keys()
    for _ in range(2):
        made = client.batches.get(name=made.name)
    assert made.state is not None and made.state.name == "JOB_STATE_SUCCEEDED"
