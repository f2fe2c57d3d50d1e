"""Which transport carries the requests of a provider: the setting, the environment, and what is installed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.servers import Server, answering, completion, json_answer
from lee_llm_router import load_config
from lee_llm_router.doctor import diagnose
from lee_llm_router.errors import ProviderError
from lee_llm_router.providers.http.transport.api import Transport, WireRequest
from lee_llm_router.providers.http.transport.choice import (
    TRANSPORT_VARIABLE,
    LazyTransport,
    TransportChoice,
    choose_transport,
)
from lee_llm_router.router import LeeLLMRouter

OK = json_answer(completion())
URL = "https://model.test/v1"
FAST = 'pip install "lee-llm-router[fast]"'


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name == TRANSPORT_VARIABLE or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def _old() -> ModuleType:
    """httptools as it was before 0.6.4, which other packages may bring along."""
    module = ModuleType("httptools")
    module.__dict__["HttpResponseParser"] = type("HttpResponseParser", (), {"__init__": lambda self, protocol: None})
    return module


@pytest.fixture(params=["not installed", "too old"])
def _no_httptools(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    modules = [
        f"lee_llm_router.providers.http.transport.{name}" for name in ("httptools_transport", "httptools_parser")
    ]
    monkeypatch.setitem(sys.modules, "httptools", None if request.param == "not installed" else _old())
    for name in modules:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in modules:
        sys.modules.pop(name, None)  # made of what is only for this test


def _lazy(url: str, wanted: TransportChoice = "auto", **settings: Any) -> LazyTransport:
    return LazyTransport(wanted, url, **{"ca_file": None, "max_response_bytes": 10_000, **settings})


def test_the_quicker_one_is_taken_where_it_is_installed() -> None:
    assert choose_transport("auto", URL) == "httptools"


@pytest.mark.usefixtures("_no_httptools")
def test_httpx_is_taken_where_the_quicker_one_cannot_be_used() -> None:
    assert choose_transport("auto", URL) == "httpx"
    with Server(answering(OK)) as server:
        lazy = _lazy(server.url)
        assert lazy.get().send(WireRequest(server.url, (), b"{}"), 5).status == 200
        lazy.close()


@pytest.mark.parametrize("name", ["httpx", "httptools"])
def test_the_environment_decides_for_auto_and_not_for_what_is_named(
    name: TransportChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRANSPORT_VARIABLE, name)
    assert choose_transport("auto", URL) == name
    assert choose_transport("httpx", URL) == "httpx"
    assert choose_transport("httptools", URL) == "httptools"


@pytest.mark.parametrize("value", ["", "auto"])
def test_an_environment_that_says_nothing_changes_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRANSPORT_VARIABLE, value)
    assert choose_transport("auto", URL) == "httptools"


def test_an_environment_that_names_none_there_is_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRANSPORT_VARIABLE, "requests")
    with pytest.raises(ProviderError, match="there are: auto, httpx, httptools") as caught:
        choose_transport("auto", URL)
    assert caught.value.final and not caught.value.sent


def test_auto_takes_httpx_for_a_proxy_that_speaks_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for requests that go through it."""
    monkeypatch.setenv("https_proxy", "socks5://proxy.test:1080")
    assert choose_transport("auto", URL) == "httpx"
    assert choose_transport("auto", "http://127.0.0.1/v1") == "httptools"


@pytest.mark.usefixtures("_no_httptools")
@pytest.mark.parametrize("by", ["setting", "environment"])
def test_naming_what_is_not_installed_is_a_final_error_with_the_remedy(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "environment":
        monkeypatch.setenv(TRANSPORT_VARIABLE, "httptools")
    lazy = _lazy(URL, "httptools" if by == "setting" else "auto")
    with pytest.raises(ProviderError) as caught:
        lazy.get()
    assert caught.value.final and not caught.value.sent
    assert FAST in caught.value.message
    with pytest.raises(ProviderError):
        asyncio.run(lazy.get_async())


def _config(url: str = URL, **settings: Any) -> dict[str, Any]:
    provider = {"type": "http", "base_url": url, "model": "m", **settings}
    return {
        "llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}}, "trace": {"enabled": False}},
    }


def test_the_doctor_says_which_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(**settings: Any) -> list[tuple[str, str]]:
        found = diagnose(_config(**settings))
        return [(finding.level, finding.message) for finding in found if "are sent with" in finding.message]

    assert said() == [("ok", "requests are sent with httptools")]
    assert said(transport="httpx") == [("ok", "requests are sent with httpx")]
    monkeypatch.setenv(TRANSPORT_VARIABLE, "httpx")
    assert said() == [("ok", "requests are sent with httpx")]


@pytest.mark.usefixtures("_no_httptools")
def test_the_doctor_says_that_another_is_used_in_its_place() -> None:
    assert "requests are sent with httpx" in [finding.message for finding in diagnose(_config())]


@pytest.mark.usefixtures("_no_httptools")
def test_the_doctor_says_what_to_install() -> None:
    found = diagnose(_config(transport="httptools"))
    assert [finding.level for finding in found if FAST in finding.message] == ["error"]


def test_the_setting_takes_no_other_name() -> None:
    with pytest.raises(Exception, match="transport"):
        load_config(_config(transport="requests"))


@pytest.mark.parametrize("name", ["httpx", "httptools"])
def test_a_call_goes_out_by_the_transport_that_is_named(name: str) -> None:
    """A process that calls by one of them has not loaded the other."""
    code = (
        "import sys\n"
        "from lee_llm_router import LeeLLMRouter\n"
        "url, name = sys.argv[1:]\n"
        "provider = {'type': 'http', 'base_url': url, 'model': 'm', 'transport': name}\n"
        "router = LeeLLMRouter({'llm': {'providers': {'p': provider}, 'roles': {'r': {'provider': 'p'}},"
        " 'trace': {'enabled': False}}})\n"
        "assert router.complete('r', 'hi').text == 'hello'\n"
        "router.close()\n"
        "print({'httpx', 'httptools'} & set(sys.modules))"
    )
    with Server(answering(OK)) as server:
        command = [sys.executable, "-W", "error", "-c", code, server.url, name]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (f"{{'{name}'}}", "")


# Made when first used


def _counted(monkeypatch: pytest.MonkeyPatch, before: Callable[[], object] = lambda: None) -> list[str]:
    """The names of the threads that transports are made in; `before` is called in them."""
    made: list[str] = []
    real = LazyTransport._build

    def build(self: LazyTransport) -> Transport:
        made.append(threading.current_thread().name)
        before()
        return real(self)

    monkeypatch.setattr(LazyTransport, "_build", build)
    return made


def test_under_asyncio_it_is_made_once_and_the_event_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library takes long to import. First calls wait for one thread; the event loop serves others meanwhile."""
    go = threading.Event()
    made = _counted(monkeypatch, lambda: go.wait(10))
    with Server(answering(OK)) as server:
        router = LeeLLMRouter(_config(server.url))

        async def main() -> None:
            calls = [asyncio.create_task(router.complete_async("r", "hi")) for _ in range(8)]
            while not made:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            assert not any(call.done() for call in calls)
            go.set()
            assert {(await call).text for call in calls} == {"hello"}
            await router.aclose()

        asyncio.run(main())
    assert len(made) == 1
    assert made[0] != threading.main_thread().name


def test_a_call_that_is_cancelled_meanwhile_leaves_it_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    made = _counted(monkeypatch, lambda: go.wait(10))
    lazy = _lazy("http://127.0.0.1:1")

    async def main() -> None:
        first = asyncio.create_task(lazy.get_async())
        while not made:
            await asyncio.sleep(0.005)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(lazy.get_async())
        await asyncio.sleep(0)
        go.set()
        assert await second is lazy.get()

    asyncio.run(main())
    assert len(made) == 1


def test_what_was_wrong_may_be_mended(tmp_path: Path) -> None:
    """A missing `ca_file` fails one call, not every call from then on."""
    missing = tmp_path / "ca.pem"
    lazy = _lazy(URL, ca_file=str(missing))
    for _ in range(2):
        with pytest.raises(ProviderError, match="ca_file"):
            asyncio.run(lazy.get_async())
    missing.write_bytes(Path(_usual_authorities()).read_bytes())
    assert asyncio.run(lazy.get_async()) is lazy.get()
    lazy.close()


def _usual_authorities() -> str:
    import certifi

    return certifi.where()


FORK = """
import asyncio, os, sys, threading
from lee_llm_router.providers.http.transport.choice import LazyTransport
from lee_llm_router.providers.http.transport.api import WireRequest
url = sys.argv[1]
lazy = LazyTransport("auto", url, ca_file=None, max_response_bytes=10000)
building, go, real = threading.Event(), threading.Event(), LazyTransport._build
def build(self):
    building.set()
    go.wait(10)
    return real(self)
LazyTransport._build = build
async def first():
    task = asyncio.create_task(lazy.get_async())
    await asyncio.to_thread(building.wait)
    task.cancel()
asyncio.run(first())
child = os.fork()
if child == 0:
    LazyTransport._build = real
    async def call():
        answer = await (await lazy.get_async()).send_async(WireRequest(url, (), b"{}"), 5)
        assert answer.status == 200
    asyncio.run(call())
    os._exit(0)
go.set()
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parents() -> None:
    with Server(answering(OK)) as server:
        command = [sys.executable, "-W", "error", "-c", FORK, server.url]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_transport_that_was_never_used_is_closed_without_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _counted(monkeypatch)
    _lazy(URL).close()
    assert made == []


@pytest.mark.parametrize("name", ["httpx", "httptools"])
def test_a_request_for_another_server_is_refused(name: TransportChoice) -> None:
    """It would go there with the connection, and the key, that are meant for the first."""
    with Server(answering(OK)) as server:
        made = _lazy(server.url, name).get()
        with pytest.raises(Exception, match="cannot be put into HTTP"):
            made.send(WireRequest("http://elsewhere.test/v1", (), b"{}"), 5)
        assert server.connections == 0
        made.close()


def test_a_machine_without_threads_left_is_a_provider_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more than that: the next call finds a transport where there is a thread again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lazy = _lazy(URL)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ProviderError, match="no thread can be started") as caught:
            asyncio.run(lazy.get_async())
    assert not caught.value.sent
    assert asyncio.run(lazy.get_async()) is lazy.get()
