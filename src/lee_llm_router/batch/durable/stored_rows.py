"""The conventions between processes that enqueue and processes that answer rows: names, the form of a stored row."""

from __future__ import annotations

import json
from typing import Any

from dbos import Serializer

APPLICATION = "lee-llm-router"
VERSION = "rows-1"
"""The application version for DBOS: only workers with the same version take a row. It changes with the form of a stored
row, not with each release of this package."""
ANSWER_ROW = "answer_row"
"""The workflow that answers a row."""
_QUEUE_PREFIX = "rows-of-"


def queue_of(role: str) -> str:
    """Return the name of the queue for rows of `role`."""
    return _QUEUE_PREFIX + role


class JsonSerializer(Serializer):
    """Stores rows and answers as JSON: readable by people, and by any version of Python and of this package."""

    def serialize(self, data: Any) -> str:
        """Return `data` as JSON in ASCII, since a NUL or a lone surrogate could not be stored as it is."""
        return json.dumps(_plain(data))

    def deserialize(self, serialized_data: str) -> Any:
        """Return the value passed to `serialize`; tuples become lists."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """Return the name that is stored with each value."""
        return "lee_llm_router_json"


def _plain(data: Any) -> Any:
    """Return an error, which DBOS also stores, as its type only: its text may contain a prompt."""
    return {"error_type": type(data).__name__} if isinstance(data, BaseException) else data
