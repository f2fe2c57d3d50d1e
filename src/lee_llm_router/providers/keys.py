"""The key of a provider, from an environment variable or a file, read at each attempt.

A provider may have several keys (`api_key_env` is a list). Then each attempt uses one: the plan of a call names its
variable, and the pool opens the provider with settings that name only that variable. If the settings name several, this
module reads the first that is set.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from lee_llm_router._util.check_note import CheckNote
from lee_llm_router._util.hosts import host_of, site_of
from lee_llm_router._util.small_files import read_small_file
from lee_llm_router.errors import AuthenticationError
from lee_llm_router.providers.base import ProviderConfig, checked_key
from lee_llm_router.settings.fields import EnvName, EnvNames

MAX_KEY_BYTES = 16_384
"""Size of the largest file that can be a key."""

_VARIABLES = ("api_key_env", "other_api_key_envs")

_Finding = tuple[Literal["ok", "warning", "error"], str]


class KeyedConfig(ProviderConfig):
    """Settings of a provider that may need a key."""

    keeps_key_at_home: ClassVar[bool] = False
    """Whether the vendor's key goes to another owner's address only if the file names the key.

    This is for a vendor whose alias is also the name of an API that others serve: {type: anthropic, base_url: ...} may
    be any server with that API, as may {type: http, base_url: ...}. But {type: groq, base_url: ...} is still Groq,
    reached another way.
    """

    api_key_env: EnvNames | None = Field(
        None,
        description="Environment variable that holds the key, read at each attempt. A list names several keys, each"
        " with its own limits. Unset: no key is sent.",
    )
    other_api_key_envs: tuple[EnvName, ...] = Field(
        (), max_length=10, description="Variables to try, in order, if the one in api_key_env is not set."
    )
    api_key_file: str | None = Field(
        None, min_length=1, description="File that holds only the key, instead of a variable."
    )

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise PydanticCustomError("two_keys", "give api_key_env or api_key_file, not both")
        if self.api_key_env is None and self.other_api_key_envs:
            raise PydanticCustomError("no_first_key", "other_api_key_envs are used after api_key_env: set that too")
        if self.several_keys and self.other_api_key_envs:
            raise PydanticCustomError("two_lists", "other_api_key_envs are for a single api_key_env, not for a list")
        return self

    @classmethod
    def with_defaults(cls, written: dict[str, object], defaults: dict[str, object]) -> dict[str, object]:
        """Return the settings `written` with the `defaults` of an alias.

        A key that the settings name replaces all of the alias's variables, and ``api_key_env: null`` sends no key. See
        `keeps_key_at_home` for the effect of an address.
        """
        is_named = "api_key_env" in written or written.get("api_key_file") is not None
        is_away = cls.keeps_key_at_home and _leads_elsewhere(written.get("base_url"), defaults.get("base_url"))
        if is_named or is_away:
            defaults = {name: value for name, value in defaults.items() if name not in _VARIABLES}
        return super().with_defaults(written, defaults)

    def changed(self, overrides: Mapping[str, Any]) -> Self:
        """As `RedactingModel.changed`. A new key setting replaces all variables named before."""
        if "api_key_env" in overrides or overrides.get("api_key_file") is not None:
            overrides = {"api_key_env": None, "other_api_key_envs": (), **overrides}
        return super().changed(overrides)

    def key_variables(self) -> tuple[str, ...]:
        """Return the environment variables that may hold the key, in order of preference."""
        if isinstance(self.api_key_env, tuple):
            return self.api_key_env
        return () if self.api_key_env is None else (self.api_key_env, *self.other_api_key_envs)

    @property
    def several_keys(self) -> tuple[str, ...]:
        """The variables of the provider's keys if it has more than one, otherwise empty."""
        return self.api_key_env if isinstance(self.api_key_env, tuple) else ()

    def by_key(self) -> tuple[Self, ...]:
        """Return one settings object for each of several keys; the settings themselves if there are not several."""
        return tuple(self.changed({"api_key_env": name}) for name in self.several_keys) or (self,)


def _leads_elsewhere(written: object, usual: object) -> bool:
    """Whether the address `written` belongs to another owner than `usual`."""
    if not isinstance(written, str) or not isinstance(usual, str):
        return False
    return site_of(host_of(written)) != site_of(host_of(usual))


class KeySource:
    """Reads the key of one provider.

    Args:
        config: Says where the key is.
        provider: The provider's name, for errors.
    """

    def __init__(self, config: KeyedConfig, provider: str) -> None:
        self._config = config
        self._origin = config.origin
        self._provider = provider
        self._from_file: tuple[tuple[int, ...], str] | None = None
        """The key read last, and the file's state at that time."""
        self._from_variable: tuple[str | None, str] | None = None
        """The value of the variable when last read, and the key in it."""

    @property
    def is_named(self) -> bool:
        """Whether the settings name a key."""
        return self._config.api_key_env is not None or self._config.api_key_file is not None

    def read(self) -> str | None:
        """Return the current key; None if the settings name none.

        Raises:
            AuthenticationError: it is missing, or cannot be a key.
        """
        config = self._config
        if config.api_key_file is not None:
            return self._read_file(config.api_key_file)
        name = self._variable()
        if name is None:
            return None
        value, known = self._origin.variable(name), self._from_variable
        if known is not None and known[0] == value:
            return known[1]
        missing = "is not set" + "".join(f", nor is {other}" for other in config.key_variables()[1:])
        key = checked_key(f"environment variable {name}", value, self._provider, missing=missing)
        self._from_variable = (value, key)
        return key

    def _variable(self) -> str | None:
        """Return the variable to read the key from: the first that is set, else the first; None if there are none."""
        config = self._config
        if isinstance(config.api_key_env, str) and not config.other_api_key_envs:
            return config.api_key_env
        names = config.key_variables()
        return next((name for name in names if self._holds_text(name)), names[0] if names else None)

    def _holds_text(self, variable: str) -> bool:
        return bool((self._origin.variable(variable) or "").strip())

    def known(self) -> Iterable[str]:
        """Return what must never be shown: the current key, if there is one."""
        if self._config.api_key_env is not None:
            names = self._config.key_variables()
            return tuple(key for name in names if (key := (self._origin.variable(name) or "").strip()))
        if self._config.api_key_file is not None and self._from_file is None:
            try:
                self.read()
            except AuthenticationError:
                return ()
        return () if self._from_file is None else (self._from_file[1],)

    def check(self) -> Iterator[_Finding]:
        """Say whether the key is present, where it comes from, and what looks wrong with it."""
        config = self._config
        try:
            key = self.read()
        except AuthenticationError as error:
            yield CheckNote("error", error.message, self._id_of_missing())
            return
        if key is None:
            return
        if config.api_key_file is not None:
            what = f"api_key_file {config.api_key_file}"
            yield CheckNote("ok", f"{what} holds a key", "LLR300")
            mode = config.origin.path(config.api_key_file).stat().st_mode
            if mode & (stat.S_IROTH | stat.S_IWOTH):
                text = f"{what} is open to other users (mode {stat.S_IMODE(mode):04o}): chmod 600"
                yield CheckNote("warning", text, "LLR304")
        else:
            name = self._variable()
            what = f"environment variable {name}"
            elsewhere = name not in os.environ
            yield CheckNote("ok", f"{what} is set" + (f" by {config.origin.env_file}" if elsewhere else ""), "LLR300")
        yield from self._oddities(what, key)

    def check_each(self) -> Iterator[_Finding]:
        """As `check`, for each of several keys. An unset key is skipped, unless all are unset."""
        names = self._config.several_keys
        if not any(map(self._holds_text, names)):
            yield from self.check()
            return
        for name, settings in zip(names, self._config.by_key(), strict=True):
            if self._holds_text(name):
                yield from KeySource(settings, self._provider).check()
            else:
                yield CheckNote("warning", f"environment variable {name} is not set: its key is skipped", "LLR309")

    def _oddities(self, what: str, key: str) -> Iterator[_Finding]:
        if odd := oddity_of_value(key):
            yield CheckNote("warning", f"{what}: {odd[1]}", odd.check)
        elif any(char.isspace() for char in key):
            yield CheckNote("warning", f"{what}: there is white space in the key", "LLR203")

    def _id_of_missing(self) -> str:
        """Return the id of the check that reports a missing or unsendable key."""
        if self._config.api_key_file is not None:
            return "LLR303"
        name = self._variable()
        return "LLR302" if name is not None and (self._origin.variable(name) or "").strip() else "LLR301"

    def _read_file(self, written: str) -> str:
        what = f"api_key_file {written}"
        try:
            path = self._origin.path(written)
            info = path.stat()
            known = self._from_file
            if known is not None and known[0] == _look(info):
                return known[1]
            data, info = read_small_file(path, MAX_KEY_BYTES)
            text = data.decode()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text, or not a path"
            raise AuthenticationError(f"{what}: {reason}", provider=self._provider, sent=False) from None
        key = checked_key(what, text.removesuffix("\n").removesuffix("\r"), self._provider, missing="is empty")
        self._from_file = (_look(info), key)
        return key


def _look(info: os.stat_result) -> tuple[int, ...]:
    """Return a value that changes when the file is written or replaced."""
    return info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev, info.st_size


def oddity_of_value(value: str) -> CheckNote | None:
    """Return what looks wrong with a variable's value, without quoting any of it; None if nothing does.

    Containers and notebooks pass on a line of a `.env` file unchanged, including quotes and a Windows line ending.
    """
    text = value.strip()
    if len(text) > 1 and (text[0] in "\"'" or text[-1] in "\"'"):
        return CheckNote("warning", "the quotes are part of its value: leave them out", "LLR202")
    if text.lower().startswith("bearer "):
        what = "its value begins with Bearer, which is added to a key anyway: leave it out"
        return CheckNote("warning", what, "LLR204")
    if text != value:
        return CheckNote("warning", "there is white space, or the end of a line, around its value", "LLR203")
    return None
