"""What is recorded of rare answers comes back as it was, and what cannot be read is an error that says so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.support import FakeClock, Pieces, ScriptedConfig, ScriptedProvider
from lee_llm_router import (
    AnswerDetails,
    Citation,
    ConfigError,
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    LLMUsage,
    ProviderError,
    RateLimitError,
    UnrecordedRequestError,
)
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.providers.cassette.cassette_text import exchanges_in, written
from lee_llm_router.providers.cassette.provider import CassetteProvider
from lee_llm_router.providers.cassette.settings import CassetteMode
from lee_llm_router.providers.cassette.tape import Tape
from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
from lee_llm_router.providers.streams import ChunkStream
from lee_llm_router.response import StreamChunk, ToolCallDelta

ASKED = LLMRequest(messages=({"role": "user", "content": "hi"},), model="m")
DETAILS = AnswerDetails(id="a-1", citations=(Citation(url="https://a.test", start=0, end=2),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "answers.yaml"


def _recorder(file: Path, *outcomes: Any) -> CassetteProvider:
    """What records these outcomes of a provider."""
    config = ScriptedConfig(type="scripted", outcomes=outcomes)
    return CassetteProvider(ScriptedProvider("p", config, FakeClock()), Tape(file, "record"))


def _player(file: Path) -> CassetteProvider:
    """What plays them, around a provider that fails when it is asked."""
    config = ScriptedConfig(type="scripted", outcomes=(AssertionError("was asked"),))
    return CassetteProvider(ScriptedProvider("p", config, FakeClock()), Tape(file, "replay"))


def _read(stream: ChunkStream) -> list[Any]:
    return list(iter(lambda: stream.pull(1.0), None))


CHUNKS = [
    StreamChunk(tool_calls=(ToolCallDelta(index=0, id="c", name="f"), ToolCallDelta(index=0, arguments='{"a":'))),
    StreamChunk(tool_calls=(ToolCallDelta(index=0, arguments="1}"),)),
    StreamChunk(raw={"image": "own form"}, output_in_raw=True),
    StreamChunk(finish_reason="tool_calls", usage=LLMUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)),
    StreamChunk(details=DETAILS),
]


def test_every_kind_of_piece_of_a_stream_comes_back(file: Path) -> None:
    recorder = _recorder(file, Pieces(*CHUNKS))
    recorded = _read(recorder.stream(ASKED, 1.0))
    assert _read(_player(file).stream(ASKED, 1.0)) == recorded == CHUNKS


def test_what_is_no_answer_or_no_piece_is_handed_on_and_not_recorded(file: Path) -> None:
    """The engine says what is wrong with it."""
    recorder = _recorder(file, {"not": "an answer"}, Pieces(7, StreamChunk(text="a", finish_reason="stop")))
    assert recorder.complete(ASKED, 1.0) == {"not": "an answer"}  # type: ignore[comparison-overlap]
    assert [getattr(chunk, "text", chunk) for chunk in _read(recorder.stream(ASKED, 1.0))] == [7, "a"]
    exchanges, _ = exchanges_in(file.read_bytes())
    assert [exchange.get("chunks") for exchange in exchanges] == [[{"text": "a", "finish_reason": "stop"}]]


def test_an_error_comes_back_with_what_it_knew(file: Path) -> None:
    part = LLMResponse(text="Once upon", finish_reason="length")
    error = error_for(
        FailureType.RATE_LIMIT, "slow", sent=False, status_code=429, retry_after=3.0, response=part, local_shortage=True
    )
    with pytest.raises(RateLimitError):
        _recorder(file, error).complete(ASKED, 1.0)
    with pytest.raises(RateLimitError) as caught:
        _player(file).complete(ASKED, 1.0)
    with pytest.raises(RateLimitError):
        _player(file).stream(ASKED, 1.0)
    found = caught.value
    assert (found.sent, found.status_code, found.retry_after, found.local_shortage) == (False, 429, 3.0, True)
    assert found.response is not None and found.response.text == "Once upon"


@dataclass
class Odd:
    """Something of an application's own, with no form in JSON."""

    name: str


def test_what_has_no_form_in_json_is_told_by_its_words_or_left_out(file: Path) -> None:
    odd = LLMRequest(messages=({"role": "user", "content": Odd("x")},), schema=Callable[[int], str], extra_query={
        "api_key": "k-0123456789abcdef", "deep": "1",
    })  # fmt: skip
    recorder = _recorder(file, LLMResponse(text="yes", finish_reason="stop", raw={1, 2}))
    recorder.complete(odd, 1.0)
    ((exchange,), _) = exchanges_in(file.read_bytes())
    assert exchange["request"]["messages"][0]["content"] == repr(Odd("x"))
    assert "Callable" in exchange["request"]["options"]["schema"] and "model" not in exchange["request"]
    assert exchange["request"]["options"]["extra_query"]["deep"] == "1"
    assert "k-0123456789abcdef" not in file.read_text() and "raw" not in exchange
    assert _player(file).complete(odd, 1.0).text == "yes"


class Embedder(ScriptedProvider):
    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        return EmbeddingResponse(vectors=tuple((0.5, float(len(text))) for text in request.inputs), model="e")


def test_embeddings_of_threads_are_played_as_they_were(file: Path) -> None:
    request = EmbeddingRequest(inputs=("a", "bc"))
    inner = Embedder("p", ScriptedConfig(type="scripted"), FakeClock())
    recorded = CassetteProvider(inner, Tape(file, "record")).embed(request, 1.0)
    for played in (_player(file).embed(request, 1.0), asyncio.run(_player(file).embed_async(request, 1.0))):
        assert (played.vectors, played.model) == (recorded.vectors, recorded.model)


@pytest.mark.parametrize("came", [
    {"answer": {"text": 7}}, {"chunks": [{"text": "a", "colour": "red"}]}, {"error": {"type": "NO_SUCH_TYPE"}},
    {"error": {"message": "no type"}}, {"answer": {"text": "a", "usage": {"prompt_tokens": "many"}}},
    {"answer": {"text": "a", "details": {"logprobs": [{"token": "a"}]}}},
    {"answer": {"text": "a", "details": {"citations": [{"colour": "red"}]}}},
])  # fmt: skip
def test_what_was_damaged_by_hand_is_an_error_that_names_the_cassette(file: Path, came: dict[str, Any]) -> None:
    request = {"provider": "p", "model": "m", "messages": [{"role": "user", "content": "hi"}]}
    file.write_bytes(written({"request": request, **came}))
    asks: list[Callable[[], object]] = [
        lambda: _player(file).complete(ASKED, 1.0), lambda: _read(_player(file).stream(ASKED, 1.0)),
        lambda: asyncio.run(_player(file).stream_async(ASKED, 1.0)),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(UnrecordedRequestError, match=r"answers\.yaml: the outcome of this request cannot be read"):
            ask()


def test_embeddings_that_failed_or_are_damaged_are_errors(file: Path) -> None:
    requests = [EmbeddingRequest(inputs=(text,)) for text in "ab"]
    came: list[dict[str, Any]] = [{"error": {"type": "RATE_LIMIT", "message": "slow"}}, {"embeddings": {"vectors": 7}}]
    data = [
        written({"request": {"provider": "p", "inputs": [text]}, **one}) for text, one in zip("ab", came, strict=True)
    ]
    file.write_bytes(b"".join(data))
    player = _player(file)
    with pytest.raises(RateLimitError):
        player.embed(requests[0], 1.0)
    with pytest.raises(UnrecordedRequestError, match="cannot be read"):
        player.embed(requests[1], 1.0)


# The tape


def test_a_tape_counts_what_nobody_has_asked_for(file: Path) -> None:
    _recorder(file, "one", "two").complete(ASKED, 1.0)
    tape = Tape(file, "replay")
    assert tape.unplayed() == 1
    CassetteProvider(ScriptedProvider("p", ScriptedConfig(type="scripted"), FakeClock()), tape).complete(ASKED, 1.0)
    assert tape.unplayed() == 0


def test_a_request_says_what_is_missing_beside_the_nearest_and_where_nothing_is_recorded(file: Path) -> None:
    file.write_bytes(b"---\n---\n")
    with pytest.raises(UnrecordedRequestError, match="nothing is recorded"):
        _player(file).complete(ASKED, 1.0)
    _recorder(file, "one").complete(LLMRequest(messages=ASKED.messages, model="m", temperature=0.5), 1.0)
    with pytest.raises(UnrecordedRequestError, match=r"options.*: recorded .*0\.5.*, now missing"):
        _player(file).complete(ASKED, 1.0)


def test_a_tape_that_cannot_be_begun_or_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        Tape(tmp_path / "file" / "answers.yaml", "record")
    with pytest.raises(ConfigError, match="cannot be read"):
        Tape(tmp_path, "replay")


def test_a_cut_end_is_left_out_where_nothing_may_be_added(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    _recorder(file, "one").complete(ASKED, 1.0)
    whole = file.read_bytes() + b"---\nrequest: {provider: p}\nanswer: [\n"
    file.write_bytes(whole)
    assert _player(file).complete(ASKED, 1.0).text == "one"
    assert file.read_bytes() == whole and "is missing" in caplog.text


@pytest.mark.parametrize(("cassette", "said"), [
    ({"path": "a.yaml", "mode": "odd"}, r"cassette\.mode"), ({"path": ""}, r"cassette\.path"),
    ({"path": "~nobody-of-this-name/a.yaml"}, r"cassette\.path"),
])  # fmt: skip
def test_a_cassette_that_cannot_be_used_is_a_finding(cassette: dict[str, str], said: str) -> None:
    config = {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p"}}, "trace": {"enabled": False}}
    with pytest.raises(ConfigError, match=said):
        LeeLLMRouter({"llm": config}, cassette=cassette)


@pytest.mark.parametrize("mode", ["once", "new", "record", "replay"])
def test_a_cassette_that_is_no_file_is_an_error_and_waited_for_by_nobody(file: Path, mode: CassetteMode) -> None:
    """Opening a FIFO would wait for another program for ever."""
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="it is no regular file"):
        Tape(file, mode)


def test_what_takes_the_place_of_a_cassette_is_not_waited_for_either(file: Path) -> None:
    recorder = _recorder(file, LLMResponse(text="one"), LLMResponse(text="two"))
    recorder.complete(ASKED, 1.0)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ProviderError, match="cannot be written"):
        recorder.complete(ASKED, 1.0)
