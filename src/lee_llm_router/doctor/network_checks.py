"""Checks of the environment's proxy settings, for all providers together. Each provider reports its own needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_network

from lee_llm_router._util.hosts import host_port
from lee_llm_router.doctor.results import CheckResult, found
from lee_llm_router.providers.keys import oddity_of_value

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def check_network() -> Iterator[CheckResult]:
    """Yield oddities of the proxy variables. Shows no values: they may contain a password."""
    for name in (*_PROXIES, "no_proxy"):
        small, large = os.environ.get(name), os.environ.get(name.upper())
        if small and large and small.strip() != large.strip():
            yield found("LLR410", f"variable {name}", f"{name} and {name.upper()} differ; {name} is used here")
        variable = name if small is not None else name.upper()
        value = small if small is not None else large
        if value and value.strip():
            yield from _no_proxy(variable, value) if name == "no_proxy" else _proxy(variable, value)


def _proxy(variable: str, value: str) -> Iterator[CheckResult]:
    odd = oddity_of_value(value)
    if odd is not None:
        yield found(odd.check, f"variable {variable}", odd[1])
    elif "://" not in value:
        yield found("LLR405", f"variable {variable}", "it has no scheme, so http:// is assumed")


def _no_proxy(variable: str, value: str) -> Iterator[CheckResult]:
    odd = oddity_of_value(value)
    if odd is not None and odd.check == "LLR202":
        yield found(odd.check, f"variable {variable}", odd[1])
        return
    entries = value.replace(",", " ").split()
    numbers = [str(number) for number, entry in enumerate(entries, 1) if not _can_match(entry)]
    if numbers:
        which = f"entry {numbers[0]}" if len(numbers) == 1 else f"entries {', '.join(numbers[:10])}"
        yield found("LLR407", f"variable {variable}", f"{which} can match no host")


def _can_match(entry: str) -> bool:
    """Whether an entry of `NO_PROXY` can match any host; see `is_exempt`."""
    if entry == "*":
        return True
    scheme, separator, rest = entry.rpartition("://")
    if separator and scheme.lower() not in ("http", "https"):
        return False
    rest = rest.rstrip("/") if separator else rest
    try:
        if "/" in rest:
            ip_network(rest.replace("[", "").replace("]", ""), strict=False)
            return True
        bare = rest.removeprefix("*").removeprefix(".")
        if bare.count(":") > 1 and not bare.startswith("["):
            ip_network(bare)
            return True
        host_port(bare)
    except ValueError:
        return False
    return not any(char in bare for char in ";'\"")
