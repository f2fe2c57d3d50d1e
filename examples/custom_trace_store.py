"""A custom trace store: records go to SQLite instead of daily files, and a query summarizes them.

Run it with ``python examples/custom_trace_store.py``. A store is any object with ``write(record)``. The router calls it
inline, from any thread. If it raises, the call goes on and `router.telemetry_errors` counts the error.
"""

import sqlite3
import threading

from lee_llm_router import LeeLLMRouter, TraceRecord

CONFIG = """
llm:
  providers:
    shaky: {type: mock, loop: true, script: [{error: OVERLOADED, status_code: 503}, {text: "fine now"}]}
    steady: {type: mock, response_text: "always fine"}
  roles:
    chat: {provider: shaky, model: m, retry: {attempts: 1}, fallback_providers: [steady]}
"""


class SQLiteTraceStore:
    """Keep each record as JSON, next to columns for frequent queries."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self.connection = sqlite3.connect(path, check_same_thread=False)
        self.connection.execute("CREATE TABLE IF NOT EXISTS trace (request_id, target, outcome, record)")

    def write(self, record: TraceRecord) -> None:
        row = (record.request_id, record.target, record.failure_type or record.outcome, record.to_json().decode())
        with self._lock, self.connection:
            self.connection.execute("INSERT INTO trace VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        """Close the database. The router calls this when it closes."""
        self.connection.close()


store = SQLiteTraceStore(":memory:")
with LeeLLMRouter(CONFIG, trace_store=store) as router:
    for number in range(4):
        router.complete("chat", f"Question {number}")
    query = "SELECT target, outcome, count(*) FROM trace GROUP BY 1, 2 ORDER BY 1, 2"
    for target, outcome, count in store.connection.execute(query):
        print(f"{target:<10} {outcome:<10} {count}")
