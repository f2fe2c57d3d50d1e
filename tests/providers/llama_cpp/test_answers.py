"""What a model in this process answers, in each form of a call, and what goes wrong, each with its type and a trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.all_forms import WAYS
from helpers.fake_llama import TEMPLATE_WITH_TOOLS, FakeLlama, answer, gguf_file
from helpers.stream_support import Read
from helpers.support import Memory
from lee_llm_router import ConfigError, FailureType, LeeLLMRouter, LLMRouterError, load_config
from lee_llm_router.providers.llama_cpp import LlamaCppConfig

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CITY = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Read:
    """One call, in each form: whole and streamed, sync and async."""
    found: Read = request.param
    return found


def router_of(config: dict[str, Any], **inside: Any) -> tuple[LeeLLMRouter, Memory]:
    config["llm"]["providers"]["inside"].update(inside)
    memory = Memory()
    return LeeLLMRouter(config, trace_store=memory), memory


def test_an_answer_is_the_same_in_each_form(llama: FakeLlama, config: dict[str, Any], ask: Read) -> None:
    router, memory = router_of(config)
    with router:
        ended = ask(router)
    assert ended.response is not None
    assert (ended.response.text, ended.response.finish_reason, ended.response.model) == ("Hello, world", "stop", "tiny")
    usage = ended.response.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (4, 3, 7)
    assert ended.response.raw["choices"][0]["message"]["content"] == "Hello, world"
    assert [(one.target, one.outcome, one.served_model) for one in memory.records] == [("inside/tiny", "ok", "tiny")]


def test_a_stream_gives_each_token_as_it_comes(llama: FakeLlama, config: dict[str, Any]) -> None:
    """What only tells how far the prompt was read is no part of the answer."""
    router, _ = router_of(config)
    with router:
        chunks = list(router.stream("r", "hi"))
    assert [chunk.text for chunk in chunks if chunk.text] == ["Hello", ", ", "world"]
    assert not any("prompt_progress" in chunk.raw for chunk in chunks)


def test_a_text_that_speaks_of_progress_is_not_taken_for_it(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.words = ['"prompt_progress":{', '"error":{"code":400}', "data: [DONE]"]
    router, _ = router_of(config)
    with router:
        assert router.complete("r", "hi").text == "".join(llama.words)


@pytest.mark.parametrize(
    ("reply", "kind", "status"),
    [
        ({"error": {"code": 400, "message": "request (9 tokens) exceeds the available context size (8 tokens)",
                    "type": "exceed_context_size_error"}}, FailureType.CONTEXT_LENGTH, 400),
        ({"error": {"code": 400, "message": "bad", "type": "invalid_request_error"}}, FailureType.INVALID_REQUEST, 400),
        ({"error": {"code": 500, "message": "oops", "type": "server_error"}}, FailureType.PROVIDER_ERROR, 500),
        ({"error": {"code": 503, "message": "Loading", "type": "unavailable_error"}}, FailureType.OVERLOADED, 503),
        ({"error": "odd"}, FailureType.PROVIDER_ERROR, 500),
        (ValueError("'messages' is required"), FailureType.INVALID_REQUEST, 400),
        (RuntimeError("Failed to parse tools: Expected 'tools' to be an array"), FailureType.INVALID_REQUEST, 400),
        (MemoryError(), FailureType.PROVIDER_ERROR, None),
        (KeyError("odd"), FailureType.PROVIDER_ERROR, None),
        ([], FailureType.INVALID_RESPONSE, 200),
        (answer(["half"])[:-2], FailureType.INVALID_RESPONSE, 200),
        ([*answer(["half"])[:4], {"error": {"code": 500, "message": "no slot", "type": "server_error"}}],
         FailureType.PROVIDER_ERROR, 500),
        ([b"no json"], FailureType.INVALID_RESPONSE, 200),
        ([b"[1]"], FailureType.INVALID_RESPONSE, 200),
    ],
)  # fmt: skip
def test_what_llama_cpp_refuses_or_breaks_is_a_typed_error_with_a_trace(
    llama: FakeLlama, config: dict[str, Any], ask: Read, reply: Any, kind: FailureType, status: int | None
) -> None:
    llama.replies = [reply]
    router, memory = router_of(config)
    with router:
        ended = ask(router)
    assert ended.error is not None
    assert (ended.error.failure_type, ended.error.status_code) == (kind, status)
    assert [record.failure_type for record in memory.records] == [kind]
    assert llama.alive == 0


def test_the_last_target_takes_over_from_others_and_others_from_it(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.replies = [{"error": {"code": 500, "message": "broken", "type": "server_error"}}]
    router, _ = router_of(config)
    with router:
        assert router.complete("safe", "hi").provider == "mock"
        assert router.complete("safe", "hi").provider == "inside"


def test_an_event_that_is_lost_ends_the_call(
    llama: FakeLlama, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong in the function that llama.cpp calls is swallowed there: no answer with a hole comes of it."""
    from lee_llm_router.providers.llama_cpp.model_call import ModelCall

    put = ModelCall._put

    def lossy(self: ModelCall, item: Any) -> None:
        if isinstance(item, bytes) and b'"content":", "' in item:
            raise MemoryError
        put(self, item)

    monkeypatch.setattr(ModelCall, "_put", lossy)
    router, _ = router_of(config)
    with router, pytest.raises(LLMRouterError, match="an event of the answer was lost"):
        router.complete("r", "hi")


def test_what_llama_cpp_raises_after_it_has_begun_is_its_own_fault(llama: FakeLlama, config: dict[str, Any]) -> None:
    def fails(index: int) -> None:
        if index == 4:
            raise RuntimeError("failed to decode")

    llama.may_go_on = fails
    router, _ = router_of(config)
    with router, pytest.raises(LLMRouterError, match="failed to decode") as caught:
        router.complete("r", "hi")
    assert caught.value.failure_type is FailureType.PROVIDER_ERROR


@pytest.mark.parametrize("tools", [True, 1, "x", {"a": 1}, [1], []])
def test_odd_tools_in_extra_body_are_passed_on_for_llama_cpp_to_refuse(
    llama: FakeLlama, config: dict[str, Any], tools: Any
) -> None:
    router, _ = router_of(config)
    with router:
        router.complete("r", "hi", extra_body={"tools": tools})
    assert llama.bodies[0]["tools"] == tools


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "none.gguf", "No such file"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: Path("/dev/null"), "not a regular file"),
        (
            lambda folder: gguf_file(folder, "cut.gguf", tensors=2).write_bytes(b"GGUF") and folder / "cut.gguf",
            "is cut",
        ),
        (lambda folder: (folder / "x").write_text("hello") and folder / "x", "not a GGUF file"),
    ],
)
def test_a_file_that_is_no_model_is_told_before_llama_cpp_sees_it(
    llama: FakeLlama, config: dict[str, Any], tmp_path: Path, ask: Read, make: Any, said: str
) -> None:
    router, memory = router_of(config, model_path=str(make(tmp_path)))
    with router:
        ended = ask(router)
    assert ended.error is not None and said in ended.error.message
    assert ended.error.failure_type is FailureType.MODEL_NOT_FOUND
    assert [record.sent for record in memory.records] == [False]
    assert llama.params == []


def test_a_file_that_llama_cpp_refuses_is_described(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.load_error = RuntimeError("Failed to init server, please check the input params.")
    router, _ = router_of(config)
    with router, pytest.raises(LLMRouterError, match="architecture llama, n_ctx 2048, 1 slot") as caught:
        router.complete("r", "hi")
    assert caught.value.failure_type is FailureType.MODEL_NOT_FOUND


def test_without_the_extra_the_error_names_it(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    router, _ = router_of(config)
    with router, pytest.raises(LLMRouterError, match=r'pip install "lee-llm-router\[local\]"'):
        router.complete("r", "hi")


def test_more_memory_than_there_is_ends_the_attempt_at_once(llama: FakeLlama, config: dict[str, Any]) -> None:
    """llama.cpp would end the process."""
    router, memory = router_of(config, n_ctx=16_777_216, max_concurrency=64, model_path=_wide_model(config))
    with router, pytest.raises(LLMRouterError, match="memory is short"):
        router.complete("r", "hi")
    assert len(memory.records) == 1, "no waiting for what cannot come free"
    assert llama.params == []


def _wide_model(config: dict[str, Any]) -> str:
    from helpers.fake_llama import FIELDS

    folder = Path(config["llm"]["providers"]["inside"]["model_path"]).parent
    fields = {**FIELDS, "llama.block_count": 1000, "llama.embedding_length": 65536}
    return str(gguf_file(folder, "wide.gguf", fields=fields))


@pytest.mark.feature("llama_cpp", "schema")
def test_a_schema_is_held_to_by_grammar(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.words = ['{"name": ', '"Paris"}']
    router, _ = router_of(config)
    with router:
        assert router.complete("r", "hi", schema=CITY).parsed == {"name": "Paris"}
    assert llama.bodies[0]["response_format"]["json_schema"]["schema"] == CITY


def test_a_schema_that_llama_cpp_makes_no_grammar_of_is_asked_for_in_words(
    llama: FakeLlama, config: dict[str, Any]
) -> None:
    """At once, at the cost of no attempt; and from then on."""
    llama.words = ['{"name": "Paris"}']
    llama.replies = [ValueError("JSON schema error at #: unsupported $ref")]
    router, memory = router_of(config)
    with router:
        for _ in range(2):
            assert router.complete("r", "hi", schema=CITY).parsed == {"name": "Paris"}
    assert [record.outcome for record in memory.records] == ["error", "ok", "ok"]
    for body in llama.bodies[1:]:
        assert body["response_format"] == {"type": "json_object"}
        assert '"required"' in str(body["messages"])


@pytest.mark.parametrize("dropped", [False, True])
def test_tools_are_for_models_whose_template_has_a_place_for_them(
    llama: FakeLlama, config: dict[str, Any], dropped: bool
) -> None:
    """Tools make the question: they are never left out."""
    router, _ = router_of(config)
    with router:
        answered = router.complete("safe", "hi", tools=[TOOL], drop_unsupported=dropped)
    assert answered.provider == "mock"
    assert llama.bodies == []


def test_tools_are_passed_on_and_calls_come_back(
    llama: FakeLlama, config: dict[str, Any], tmp_path: Path, ask: Read
) -> None:
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    events = answer([], "tool_calls")
    events[2]["choices"][0]["delta"] = {"tool_calls": [call]}
    llama.replies = [events]
    router, _ = router_of(config, chat_template=TEMPLATE_WITH_TOOLS)
    with router:
        ended = ask(router, tools=[TOOL])
    assert ended.response is not None
    assert [(one.id, one.name, one.arguments) for one in ended.response.tool_calls] == [("x", "f", '{"a":1}')]
    assert llama.bodies[0]["tools"] == [TOOL]
    assert llama.params[0].chat_template == TEMPLATE_WITH_TOOLS


def test_pictures_and_tiers_skip_the_target(llama: FakeLlama, config: dict[str, Any]) -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
    router, _ = router_of(config)
    with router:
        assert router.complete("safe", [picture]).provider == "mock"
        assert router.complete("safe", "hi", service_tier="flex").provider == "mock"
        assert router.complete("safe", "hi", headers={"X-Team": "a"}).provider == "inside"


def test_the_model_is_named_after_its_file(model: Path) -> None:
    """So a chain says what would answer, and a fallback does not take the model of another provider."""
    assert LlamaCppConfig(model_path=str(model)).model == "tiny"
    assert LlamaCppConfig(model_path=str(model), model="mine").model == "mine"


def test_a_relative_path_starts_at_the_folder_of_the_configuration(
    llama: FakeLlama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    gguf_file(tmp_path / "models")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = tmp_path / "llm.yaml"
    file.write_text(
        "llm:\n  providers: {inside: {type: llama_cpp, model_path: models/tiny.gguf}}\n"
        "  roles: {r: {provider: inside}}\n  trace: {enabled: false}\n"
    )
    with LeeLLMRouter.from_file(file) as router:
        assert router.complete("r", "hi").text == "Hello, world"
    assert llama.params[0].model.path == str(tmp_path / "models/tiny.gguf")


def test_a_path_in_the_home_of_nobody_is_a_typed_error(llama: FakeLlama, config: dict[str, Any]) -> None:
    router, _ = router_of(config, model_path="~nobody-here/tiny.gguf")
    with router, pytest.raises(LLMRouterError, match="no home folder"):
        router.complete("r", "hi")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("n_ctx", 1), ("n_ctx", 10**9), ("n_threads", 0), ("max_concurrency", 0), ("max_concurrency", 1000),
     ("model_path", ""), ("n_gpu_layers", -1), ("pooling", "odd"), ("extra_body", {"stream": False}), ("n_ctx", "big")],
)  # fmt: skip
def test_settings_that_cannot_be_are_findings(config: dict[str, Any], setting: str, value: Any) -> None:
    config["llm"]["providers"]["inside"][setting] = value
    with pytest.raises(ConfigError, match=setting):
        load_config(config)


def test_nobody_can_reach_the_server_that_llama_cpp_opens(llama: FakeLlama, config: dict[str, Any]) -> None:
    """A socket in a private folder, gone once the model is loaded, with a key that nobody knows; and a silent log."""
    router, _ = router_of(config)
    with router:
        router.complete("r", "hi")
        (params,) = llama.params
        (socket,) = params.hostnames
        assert socket.endswith(".sock") and not Path(socket).parent.exists()
        assert len(params.api_keys[0]) >= 32
        assert params.verbosity < 0 and params.cache_ram_mib == 0


def test_what_a_target_may_use_is_bounded(llama: FakeLlama, config: dict[str, Any]) -> None:
    """Threads by the cores, contexts by the slots; unset, the context is what the model was trained with."""
    router, _ = router_of(config, n_threads=1000, max_concurrency=3)
    with router:
        router.complete("r", "hi")
    (params,) = llama.params
    assert 1 <= params.cpuparams.n_threads == params.cpuparams_batch.n_threads < 1000
    assert (params.n_parallel, params.n_ctx) == (3, 3 * 2048)
