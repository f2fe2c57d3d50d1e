"""What is agreed between those who enqueue rows and those who answer them: names, and how a row is stored."""

from __future__ import annotations

import json
from typing import Any

from dbos import Serializer

APPLICATION = "lee-llm-router"
VERSION = "rows-1"
"""What DBOS calls the version of an application: only workers of the same one take a row. It changes with the form of a
stored row, not with each release of this package."""
ANSWER_ROW = "answer_row"
"""The workflow that answers a row."""
_QUEUE_PREFIX = "rows-of-"


def queue_of(role: str) -> str:
    """Return the name of the queue on which rows of `role` wait."""
    return _QUEUE_PREFIX + role


class JsonSerializer(Serializer):
    """Stores rows and answers as JSON: to be read by people, and by any version of Python and of this package."""

    def serialize(self, data: Any) -> str:
        """Return `data` as JSON in ASCII: neither a NUL nor half a character could be stored as it is."""
        return json.dumps(_plain(data))

    def deserialize(self, serialized_data: str) -> Any:
        """Return what `serialize` was given; tuples become lists."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """Return the name that is stored beside each value."""
        return "lee_llm_router_json"


def _plain(data: Any) -> Any:
    """Return an error, which DBOS stores too, as its type alone: its text may have a prompt in it."""
    return {"error_type": type(data).__name__} if isinstance(data, BaseException) else data
