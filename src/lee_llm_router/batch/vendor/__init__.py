"""The engine `vendor`: rows go to the vendor's own batch API, at half the price, and their answers come within a day.

How it works:

1. `placing.py` finds which batch a row belongs to, and writes its request as the provider itself would.
2. `engine.py` gathers rows into batches, and sends each: `ledger.py` is told before and after, so that a killed process
   finds its batches again, and no row is uploaded twice.
3. `watch.py` asks how far each is, fetches what came of it, and `settling.py` makes outcomes of that, traced and billed
   as any other call. What has failed there is asked live (`live_rows.py`).
4. A file for each vendor (`openai_files.py`, `anthropic_batches.py`, `gemini_batches.py`) knows its API; `door.py`
   makes the requests, and waits out what passes.
"""
