"""The call on other HTTP clients, alone. Imported by name: they need not be installed."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

from speed.raw import PATH, TIMEOUT, taken
from speed.subject import Made, Wanted
from speed.wire import HEADERS, PAYLOAD


def with_aiohttp(wanted: Wanted) -> Made:
    """aiohttp, with as many connections as are needed."""
    aiohttp = import_module("aiohttp")
    url = wanted.url + PATH
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT), raise_for_status=True
    )

    async def ask() -> str:
        async with session.post(url, json=PAYLOAD, headers=HEADERS) as response:
            return taken(await response.json())

    return Made(ask=ask)


def with_pyreqwest(wanted: Wanted) -> Made:
    """pyreqwest, a binding to reqwest; it has a sync and an async client."""
    module = import_module("pyreqwest.client")
    url, timeout = wanted.url + PATH, timedelta(seconds=TIMEOUT)
    made = Made()
    if wanted.case == "sync":
        blocking = module.SyncClientBuilder().error_for_status(True).timeout(timeout).build()

        def ask_sync() -> str:
            return taken(blocking.post(url).headers(HEADERS).body_json(PAYLOAD).build().send().json())

        made.ask_sync = ask_sync
        return made
    client = module.ClientBuilder().error_for_status(True).timeout(timeout).build()

    async def ask() -> str:
        response = await client.post(url).headers(HEADERS).body_json(PAYLOAD).build().send()
        return taken(await response.json())

    made.ask = ask
    return made
