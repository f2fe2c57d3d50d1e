"""The environment of an agent: only named variables pass. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PASSED_ON = frozenset({
    "PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
})  # fmt: skip
"""Variables passed to every agent, together with every ``LC_*``. No others, since an agent can read its environment."""


def child_environment(
    parent: Mapping[str, str], allowed: Sequence[str], own: Mapping[str, str | None], beside: Mapping[str, str]
) -> dict[str, str]:
    """Return the child's whole environment.

    Args:
        parent: The environment to choose from.
        allowed: Names passed on in addition to `PASSED_ON`; they override `own`.
        own: Variables that the provider sets (None: not set).
        beside: Values for names in `allowed` that `parent` lacks: the `.env` next to the configuration.
    """
    passed = {name: value for name, value in parent.items() if name in PASSED_ON or name.startswith("LC_")}
    set_here = {name: value for name, value in own.items() if value is not None}
    named = {**beside, **parent} if beside else parent
    return {**passed, **set_here, **{name: named[name] for name in allowed if name in named}}
