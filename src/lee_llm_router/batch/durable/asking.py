"""Answers one stored row with a router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lee_llm_router.batch.answers import answer_of, failure_of
from lee_llm_router.batch.rows import BatchRow
from lee_llm_router.errors import FailureType, LLMRouterError

if TYPE_CHECKING:
    from lee_llm_router.router import LeeLLMRouter

_ENDS_ALL = frozenset({FailureType.AUTH, FailureType.QUOTA})


class RowAsker:
    """Asks a router for stored rows."""

    def __init__(self, router: LeeLLMRouter) -> None:
        self._router = router

    async def __call__(self, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is stored as the answer of a row: the fields of its line.

        Raises:
            LLMRouterError: no row can be answered.
        """
        row = BatchRow.from_fields(stored["row"])
        options = {**stored["options"], **row.options}
        metadata = {**options.pop("metadata", {}), "batch": stored["batch"], "row": row.id}
        try:
            response = await self._router.complete_async(stored["role"], row.messages, metadata=metadata, **options)
        except LLMRouterError as error:
            if error.failure_type in _ENDS_ALL:
                raise
            return failure_of(row, error).plain_fields()
        return answer_of(row, response).plain_fields()
