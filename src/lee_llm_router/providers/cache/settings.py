"""The section `cache` of the configuration file and of a role."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.fields import Duration, Number
from lee_llm_router.settings.mistakes import Mistake, missing_extra, validation_error
from lee_llm_router.settings.model import OriginSection

DEFAULT_URL = "redis://localhost:6379/0"
DEFAULT_FILE = ".lee-llm-router/cache/answers.sqlite"
_DAY = 86_400.0
_FOREIGN = {
    "memory": {"path": "a cache in memory has no file", "url": "a cache in memory has no server",
               "namespace": "a cache in memory belongs to this process alone"},
    "sqlite": {"url": "a cache in a SQLite file has no server",
               "namespace": "a SQLite file is one cache: name another file"},
    "redis": {"path": "a cache in Redis has no file", "max_mb": "the server bounds its own size: set its maxmemory"},
}  # fmt: skip
"""Settings that do not apply to a type of cache, each with what to do instead."""


class CacheConfig(OriginSection):
    """Caches answers, and gives them to equal requests without asking a provider."""

    type: Literal["memory", "sqlite", "redis"] = Field(
        description="Where answers are kept. memory: in this process. sqlite: in a file, for the processes of one host."
        " redis: on a server, for any number of hosts."
    )
    ttl: Duration = Field(_DAY, description="How long an answer is kept: seconds, or 30s, 15m, 12h, 1d, 2w.")
    max_mb: Number = Field(
        100, gt=0, le=1_000_000, description="Most megabytes of all answers together, in memory or in the file."
    )
    path: str | None = Field(
        None,
        min_length=1,
        description="The SQLite file; a relative path starts at the folder of the configuration file. Default:"
        " .lee-llm-router/cache/answers.sqlite.",
    )
    url: str | None = Field(
        None, min_length=1, description="Address of the Redis server. Default: redis://localhost:6379/0."
    )
    namespace: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w.:-]+$")] = Field(
        "lee-llm-router", description="Prefix of the keys in Redis."
    )
    any_temperature: bool = Field(
        False, description="Also keep answers to requests with a temperature above 0. Default: do not."
    )
    except_tools: tuple[str, ...] = Field(
        (),
        max_length=1000,
        description="Names of tools that change something: a request that offers one is never answered from the cache.",
    )

    @model_validator(mode="after")
    def _refuse_foreign_settings(self) -> Self:
        foreign = _FOREIGN[self.type]
        mistakes = [Mistake((name,), foreign[name]) for name in sorted(self.model_fields_set & foreign.keys())]
        if mistakes:
            raise validation_error("foreign_setting", mistakes)
        if self.type == "redis":
            if find_spec("redis") is None:
                raise missing_extra('a cache in Redis needs the package redis: pip install "lee-llm-router[redis]"')
            from lee_llm_router.settings.redis_connection import DEFAULT_TIMEOUT, redis_client  # noqa: PLC0415 - few name Redis

            try:
                redis_client(self.url or DEFAULT_URL, DEFAULT_TIMEOUT).close()
            except ConfigError as error:
                raise validation_error("wanted_url", [Mistake(("url",), error.message)]) from None
        return self

    @property
    def file(self) -> Path:
        """The SQLite file.

        Raises:
            OSError: the path begins with ``~``, and there is no home.
        """
        return self.origin.path(self.path or DEFAULT_FILE).absolute()
