"""The logger of this library."""

from __future__ import annotations

import logging

logger = logging.getLogger("lee_llm_router")
logger.addHandler(logging.NullHandler())
