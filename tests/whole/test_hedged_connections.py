"""What a hedge leaves on the wire: the connection of the slower attempt is closed at once, and nothing else is."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from helpers.all_forms import WAYS
from helpers.hedged_calls import ATTEMPT_THREAD
from helpers.servers import (
    Conversation,
    Script,
    Server,
    answering,
    completion,
    eventually,
    json_answer,
    make_certificate,
    once,
)
from helpers.stream_servers import EVENTS, HEAD, ROLE, framed, streaming
from helpers.stream_support import no_descriptor_left, router_to
from helpers.transports import TRANSPORTS

HEDGED = {"hedge": {"after": "30ms"}, "retry": {"attempts": 1}, "timeout": 60}

STALLS: dict[str, tuple[bytes, ...]] = {
    "without an answer": (),
    "after its headers": (HEAD,),
    "in its body": (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{",),
}


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Any:
    """Each HTTP library."""
    return request.param


def _quick(way: str) -> Script:
    return streaming(*EVENTS) if way.startswith("stream") else answering(json_answer(completion("hello")))


def _no_thread_is_left() -> bool:
    return not any(thread.name == ATTEMPT_THREAD for thread in threading.enumerate())


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("way", WAYS)
def test_the_slower_attempt_is_ended_at_once(way: str, stall: str, transport: Any) -> None:
    """Wherever it waits, its server sees the connection closed, though it has 60 seconds left."""
    slow = once(*STALLS[stall], Conversation.stall)
    with no_descriptor_left(), Server(slow) as a, Server(_quick(way)) as b:
        router = router_to(a.url, b.url, transport=transport, role=HEDGED)
        ended = WAYS[way](router)
        assert ended.response is not None and ended.response.text == "hello", ended.error
        assert eventually(lambda: a.open == 0)
        assert a.connections <= 1  # none, where a busy machine has not connected within the wait
        assert eventually(_no_thread_is_left)
        router.close()


@pytest.mark.parametrize("way", ["complete", "stream, sync"])
def test_a_stream_that_has_only_said_who_speaks_has_not_begun_to_answer(way: str, transport: Any) -> None:
    slow = once(HEAD, framed(ROLE), Conversation.stall) if way != "complete" else once(Conversation.stall)
    with no_descriptor_left(), Server(slow) as a, Server(_quick(way)) as b:
        router = router_to(a.url, b.url, transport=transport, role=HEDGED)
        assert WAYS[way](router).response is not None
        assert eventually(lambda: a.open == 0)
        router.close()


def test_a_connection_that_has_served_is_used_again_and_none_that_was_closed(transport: Any) -> None:
    """Of each server one connection at most is open after many hedged calls, and every answer is its own."""
    number = iter(range(1000))

    def answer(conversation: Conversation, every: int) -> None:
        while (received := conversation.receive()) is not None:
            if next(number) % every == 0:
                conversation.server.closing.wait(0.2)
            conversation.send(json_answer(completion(received.json["messages"][0]["content"])))

    with no_descriptor_left(), Server(partial(answer, every=3)) as a, Server(partial(answer, every=1000)) as b:
        router = router_to(a.url, b.url, transport=transport, role=HEDGED)
        for asked in map(str, range(12)):
            assert router.complete("r", asked).text == asked
        assert len(b.requests) >= 4 and b.connections < len(b.requests)
        assert eventually(lambda: a.open <= 1 and b.open <= 1)
        router.close()


def test_a_connection_inside_tls_is_closed_at_once(tmp_path: Path, transport: Any) -> None:
    certificate, context = make_certificate(tmp_path)
    with Server(once(Conversation.stall), tls=context) as a, Server(_quick("complete"), tls=context) as b:
        router = router_to(a.url, b.url, transport=transport, role=HEDGED, ca_file=str(certificate))
        assert router.complete("r", "hi").text == "hello"
        assert eventually(lambda: a.open == 0)
        router.close()


def test_many_hedged_calls_at_once_hold_nothing_afterwards(transport: Any) -> None:
    """Of 40 calls in threads all are answered, by the second server; every permit, thread and socket is back."""
    answers: list[str] = []

    def ask(router: Any) -> None:
        answers.append(router.complete("r", "hi").text)

    with no_descriptor_left(), Server(once(Conversation.stall)) as a, Server(_quick("complete")) as b:
        router = router_to(a.url, b.url, transport=transport, role=HEDGED)
        threads = [threading.Thread(target=ask, args=(router,)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["hello"] * 40
        assert eventually(lambda: a.open == 0) and eventually(_no_thread_is_left)
        assert {health.in_flight for health in router.health().values()} == {0}
        router.close()
