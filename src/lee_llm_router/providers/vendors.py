"""The table of vendors and local servers: aliases that may be written as a provider's `type`.

The table itself is data, `vendors.json`. A row has:

- ``about``: what it is, in one line.
- ``type``: the provider type that speaks to it; ``http``, OpenAI's chat completions, if it says nothing.
- ``base_url``: where its API is. A word of ``fill_in`` in it stands for what only the user knows.
- ``fill_in``: those words, and the environment variable that usually holds what belongs there, or null.
- ``keys``: the environment variables that its key may be in; the first that is set counts. Without any, none is sent.
- ``settings``: settings of its type that it needs because it differs from the vendor whose API it speaks.
- ``names``: what else people call it. They lead to suggestions, and are not taken as types.
- ``model``: a model to begin with. Models age: nothing but `init` and suggestions use it.
- ``model_optional``: that it serves one model, which need not be named.
- ``key_prefixes``: how its keys begin, where no other vendor's begin so; `doctor` tells by it whose a key is.
- ``shared_key``: that the same variable commonly holds a key for other things, so that `init` does not go by it.
- ``same_as``: that the row is another name, kept for older files, of the row that it names.

Rows stand in the order in which `init` puts them into a chain. The table is read when a configuration first names
something that is in it, or may be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.suggestions import MAX_WORD

_FILE = "vendors.json"

OTHER_SERVERS = "{type: http, base_url: https://SERVER/v1, api_key_env: NAME_OF_A_VARIABLE}"
"""What reaches any server with an OpenAI-compatible API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """One row of the table."""

    name: str
    about: str
    base_url: str
    type: str = "http"
    keys: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    fill_in: Mapping[str, str | None] = field(default_factory=dict)
    model: str | None = None
    model_optional: bool = False
    shared_key: bool = False
    names: tuple[str, ...] = ()
    key_prefixes: tuple[str, ...] = ()
    same_as: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is a server on this machine."""
        return self.base_url.startswith("http://localhost")

    def defaults(self) -> dict[str, Any]:
        """Return the settings that the alias fills in. No settings model takes an address with words to fill in."""
        found: dict[str, Any] = {"base_url": self.base_url}
        if self.keys:
            found["api_key_env"] = self.keys[0]
        if self.keys[1:]:
            found["other_api_key_envs"] = list(self.keys[1:])
        return {**found, **self.settings}

    def written(self) -> str:
        """Return the provider as people write it in a file."""
        address = f", base_url: {self.base_url}" if self.fill_in else ""
        return f"{{type: {self.name}{address}}}"

    def own_words(self) -> str:
        """Return the words of the address that only the user knows, as a list in a sentence."""
        return " and ".join(self.fill_in)


@cache
def vendors() -> Mapping[str, Vendor]:
    """Return the rows of the table by alias, in its order."""
    from pkgutil import get_data  # noqa: PLC0415 - only a program that uses the table needs it

    rows: dict[str, dict[str, Any]] = json.loads(get_data(__package__, _FILE) or b"{}")
    found: dict[str, Vendor] = {}
    for name, row in rows.items():
        same = rows[row["same_as"]] if "same_as" in row else {}
        whole = {**same, "names": (), **row, "name": name}
        for key in ("keys", "names", "key_prefixes"):
            whole[key] = tuple(whole.get(key, ()))
        found[name] = Vendor(**whole)
    return found


def vendor_aliases() -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Return the aliases as a plugin registry takes them: the type behind each, and its defaults."""
    return {name: (vendor.type, vendor.defaults()) for name, vendor in vendors().items()}


_NOT_A_LETTER = late_pattern(r"[^a-z0-9]")
_ENDINGS = ("", "chat", "api", "llm", "http", "compatible", "cloud", "server", "provider", "local")


def vendor_called(name: str) -> Vendor | None:
    """Return the vendor or program that `name` means, however it is written; None if it is not known."""
    if len(name) > MAX_WORD:
        return None
    plain = _plain(name)
    for ending in _ENDINGS:
        if plain.endswith(ending) and (short := plain.removesuffix(ending)) and (known := _by_plain_name().get(short)):
            return vendors()[known]
    return None


@cache
def _by_plain_name() -> Mapping[str, str]:
    """Return the aliases by what each is called, in small letters and digits only."""
    found: dict[str, str] = {}
    for vendor in vendors().values():
        for name in (vendor.name, *vendor.names):
            found.setdefault(_plain(name), vendor.name)
    return found


def _plain(name: str) -> str:
    return _NOT_A_LETTER.sub("", name.lower())


def hint_for_type(name: str, near: str | None) -> str:
    """Return what somebody may have meant by the unknown provider type `name`, as the end of a finding.

    Args:
        name: What was written.
        near: The known type that is closest.
    """
    vendor = vendor_called(name)
    if vendor is not None:
        # A name may mean a type as well as a server: `llamacpp` is either of two.
        is_other = near is not None and near != vendor.name and _plain(near) == _plain(name)
        other = f"; or did you mean {near!r}?" if is_other else ""
        return f" (write {vendor.written()}{other})"
    if near is None:
        return f" (any server with an OpenAI-compatible API is {OTHER_SERVERS})"
    return f" (did you mean {near!r}? any other server is {OTHER_SERVERS})"


def hint_for_address(name: object) -> str:
    """Return which address to write for the alias `name`, which leaves a part of it to the user; empty for others."""
    vendor = vendors().get(name) if isinstance(name, str) else None
    if vendor is None or not vendor.fill_in:
        return ""
    return f" (write base_url: {vendor.base_url} with your own {vendor.own_words()})"
