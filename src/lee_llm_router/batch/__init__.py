"""Many rows, one answer each: `LeeLLMRouter.batch` and the command `batch`.

How a batch runs:

1. `rows.py` makes a `BatchRow` of each value, and `row_files.py` reads the values from files. A value that is not a row
   becomes a `BrokenRow`, and the batch goes on.
2. `intake.py` leaves out rows that already have an answer: it asks the ledger, but not about keys that `met_keys.py`
   knows to be new.
3. An engine (`engine.py`) calls the router. The usual one is `live_engine.py`: a few workers over `complete_async`.
   `outage.py` distinguishes a row that fails from a vendor that is gone.
4. `output.py` appends each outcome (`answers.py`) as one line, in one write, to the output or to the errors file. The
   output is authoritative. `ledger.py` is its index on disk, so that ten million rows take no memory; if a process was
   killed, the ledger reads what it is missing from the end of the output.
"""
