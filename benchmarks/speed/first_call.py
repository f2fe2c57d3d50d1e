"""What the first call costs, in a new process: ``python -m speed.first_call ours|httpx URL`` prints milliseconds.

One line of JSON: CPU time of the imports, of making a router (or client) ready, of the first call and of the second.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from time import process_time


def main(name: str, url: str) -> None:
    """Make two calls, and print what each step has cost."""
    from speed.wire import HEADERS, KEY, KEY_NAME, MESSAGES, MODEL, PAYLOAD  # noqa: PLC0415 - not to be counted

    os.environ[KEY_NAME] = KEY
    path = f"{url}/v1/chat/completions"
    times = [process_time()]
    call: Callable[[], object]
    if name == "httpx":
        httpx = import_module("httpx")
        times.append(process_time())
        client = httpx.Client()

        def call() -> object:
            return client.post(path, json=PAYLOAD, headers=HEADERS).json()["choices"][0]["message"]["content"]
    else:
        package = import_module("lee_llm_router")
        times.append(process_time())
        provider = {"type": "http", "base_url": f"{url}/v1", "api_key_env": KEY_NAME}
        role = {"provider": "main", "model": MODEL}
        router = package.LeeLLMRouter({"llm": {"providers": {"main": provider}, "roles": {"r": role}}})

        def call() -> object:
            return router.complete("r", MESSAGES).text

    times.append(process_time())
    for _ in range(2):
        call()
        times.append(process_time())
    print(json.dumps([(after - before) * 1000 for before, after in pairwise(times)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
