"""The engine `vendor`: sends rows to the vendor's own batch API, at half the price; answers come within a day.

How it works:

1. `placing.py` finds the batch for a row, and writes its request as the provider itself would.
2. `engine.py` gathers rows into batches, and sends each: `ledger.py` records it before and after, so that a killed
   process finds its batches again, and no row is uploaded twice.
3. `watch.py` polls the status of each batch and fetches the results, and `settling.py` turns them into outcomes, traced
   and billed like any other call. Rows that failed in a batch are sent live (`live_rows.py`).
4. A file for each vendor (`openai_files.py`, `anthropic_batches.py`, `gemini_batches.py`) knows its API; `door.py`
   makes the requests, and waits out temporary failures.
"""
