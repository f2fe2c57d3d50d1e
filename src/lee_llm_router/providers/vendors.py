"""The table of vendors and local servers: aliases for a provider's `type`.

The table itself is in `vendors.json`. A row has:

- ``about``: what it is, in one line.
- ``type``: the provider type that speaks to it; the default is ``http``, OpenAI's chat completions.
- ``base_url``: where its API is. Placeholders in it, listed in ``fill_in``, stand for what only the user knows.
- ``fill_in``: each placeholder, and the environment variable that usually holds its value, or null.
- ``keys``: the environment variables that may hold its key; the first that is set counts. If there are none, no key is
  sent.
- ``settings``: settings of its type that it needs because it differs from the vendor whose API it speaks.
- ``names``: other names that people use. They lead to suggestions, but are not valid types.
- ``model``: a model to begin with. Models age, so only `init` and suggestions use it.
- ``model_optional``: it serves one model, which need not be named.
- ``key_prefixes``: how its keys begin, if no other vendor's keys begin the same; `doctor` uses this to see whose key it
  is.
- ``shared_key``: the same variable commonly holds a key for other things, so `init` ignores it.
- ``same_as``: the row is an older name, kept for existing files, of the row given here.

`init` puts vendors into a chain in the order of the rows. The table is loaded when a configuration first names
something that may be in it.
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
"""How to reach any server with an OpenAI-compatible API."""


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
        """Return the settings that the alias fills in. No settings model accepts an address with placeholders."""
        found: dict[str, Any] = {"base_url": self.base_url}
        if self.keys:
            found["api_key_env"] = self.keys[0]
        if self.keys[1:]:
            found["other_api_key_envs"] = list(self.keys[1:])
        return {**found, **self.settings}

    def written(self) -> str:
        """Return the provider as users write it in a file."""
        address = f", base_url: {self.base_url}" if self.fill_in else ""
        return f"{{type: {self.name}{address}}}"

    def own_words(self) -> str:
        """Return the placeholders of the address as a list in a sentence."""
        return " and ".join(self.fill_in)


@cache
def vendors() -> Mapping[str, Vendor]:
    """Return the rows of the table by alias, in order."""
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
    """Return the aliases in the form of a plugin registry: each one's type, and its defaults."""
    return {name: (vendor.type, vendor.defaults()) for name, vendor in vendors().items()}


_NOT_A_LETTER = late_pattern(r"[^a-z0-9]")
_ENDINGS = ("", "chat", "api", "llm", "http", "compatible", "cloud", "server", "provider", "local")


def vendor_called(name: str) -> Vendor | None:
    """Return the vendor or program that `name` means, however it is written; None if it is unknown."""
    if len(name) > MAX_WORD:
        return None
    plain = _plain(name)
    for ending in _ENDINGS:
        if plain.endswith(ending) and (short := plain.removesuffix(ending)) and (known := _by_plain_name().get(short)):
            return vendors()[known]
    return None


@cache
def _by_plain_name() -> Mapping[str, str]:
    """Return the aliases by each name that they have, reduced to lower-case letters and digits."""
    found: dict[str, str] = {}
    for vendor in vendors().values():
        for name in (vendor.name, *vendor.names):
            found.setdefault(_plain(name), vendor.name)
    return found


def _plain(name: str) -> str:
    return _NOT_A_LETTER.sub("", name.lower())


def hint_for_type(name: str, near: str | None) -> str:
    """Return what the unknown provider type `name` may mean, as the end of a finding.

    Args:
        name: What was written.
        near: The closest known type.
    """
    vendor = vendor_called(name)
    if vendor is not None:
        # A name may mean a type or a server: `llamacpp` is either.
        is_other = near is not None and near != vendor.name and _plain(near) == _plain(name)
        other = f"; or did you mean {near!r}?" if is_other else ""
        return f" (write {vendor.written()}{other})"
    if near is None:
        return f" (any server with an OpenAI-compatible API is {OTHER_SERVERS})"
    return f" (did you mean {near!r}? any other server is {OTHER_SERVERS})"


def hint_for_address(name: object) -> str:
    """Return which address to write for the alias `name` if its address has placeholders; empty for others."""
    vendor = vendors().get(name) if isinstance(name, str) else None
    if vendor is None or not vendor.fill_in:
        return ""
    return f" (write base_url: {vendor.base_url} with your own {vendor.own_words()})"
