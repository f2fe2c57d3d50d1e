"""The call as people write it by hand, on sockets and on HTTP clients: send, check the status, take text and usage."""

from __future__ import annotations

import asyncio
import json
import socket
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from speed.subject import Made, Wanted
from speed.wire import HEADERS, MESSAGES, PAYLOAD

PATH = "/v1/chat/completions"
TIMEOUT = 120.0


def taken(answer: Any) -> str:
    """What one wants of an answer."""
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    text: str = answer["choices"][0]["message"]["content"]
    return text


def sockets(wanted: Wanted) -> Made:
    """Nothing but a socket and json: about the least Python can do. Neither timeouts nor anything going wrong."""
    parts = urlsplit(wanted.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": parts.netloc, **HEADERS}.items())
    idle: list[socket.socket] = []
    made = Made()
    made.closing.callback(_close, idle)

    async def ask() -> str:
        loop = asyncio.get_running_loop()
        if idle:
            sock = idle.pop()
        else:
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, (parts.hostname, parts.port))
        body = json.dumps(PAYLOAD)
        request = f"POST {PATH} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
        await loop.sock_sendall(sock, request.encode())
        data = await loop.sock_recv(sock, 65536)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += await loop.sock_recv(sock, 65536)
        whole = end + 4 + int(data[:end].lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(data) < whole:
            data += await loop.sock_recv(sock, 65536)
        assert data.startswith(b"HTTP/1.1 200 ")
        idle.append(sock)
        return taken(json.loads(data[end + 4 :]))

    made.ask = ask
    return made


def _close(idle: list[socket.socket]) -> None:
    for sock in idle:
        sock.close()


def with_httpx(wanted: Wanted) -> Made:
    """httpx with its default limits. Options: "httpx2" instead; "pool=N" connections; "aiohttp" as what carries it."""
    library = import_module("httpx2" if "httpx2" in wanted.options else "httpx")
    url, size = wanted.url, wanted.number("pool")
    more: dict[str, Any] = {}
    if size is not None:
        more["limits"] = library.Limits(max_connections=size, max_keepalive_connections=size)
    if wanted.case == "sync":
        return _httpx_sync(library, url, more)
    if "aiohttp" in wanted.options:
        more["transport"] = import_module("httpx_aiohttp").AiohttpTransport(**more)
    client = library.AsyncClient(timeout=TIMEOUT, **more)

    async def ask() -> str:
        response = await client.post(url + PATH, json=PAYLOAD, headers=HEADERS)
        response.raise_for_status()
        return taken(response.json())

    async def stream() -> int:
        pieces = 0
        payload = {"model": PAYLOAD["model"], "messages": MESSAGES, "stream": True}
        async with client.stream("POST", url + PATH, json=payload, headers=HEADERS) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    choices = json.loads(line[6:])["choices"]
                    pieces += bool(choices and choices[0]["delta"].get("content"))
        return pieces

    return Made(ask=ask, stream=stream)


def _httpx_sync(library: Any, url: str, more: dict[str, Any]) -> Made:
    client = library.Client(timeout=TIMEOUT, **more)
    made = Made()
    made.closing.callback(client.close)

    def ask() -> str:
        response = client.post(url + PATH, json=PAYLOAD, headers=HEADERS)
        response.raise_for_status()
        return taken(response.json())

    made.ask_sync = ask
    return made
