"""Many rows, one answer each: what `LeeLLMRouter.batch` and the command `batch` do.

How a batch runs:

1. `rows.py` makes a `BatchRow` of each value, and `row_files.py` reads the values from files. A value that is no row
   becomes a `BrokenRow`, and the batch goes on.
2. `intake.py` leaves out what has an answer already: it asks the ledger, which looks for no key that is new by
   `met_keys.py`.
3. An engine (`engine.py`) asks. The usual one is `live_engine.py`: a few workers over `complete_async`. `outage.py`
   tells a row that fails from a vendor that is gone.
4. `output.py` writes each outcome (`answers.py`) as one line, by one write, to the output or to the errors file. The
   output is the truth. `ledger.py` is an index to it on disk, so that ten million rows take no memory; what it has not
   been told yet when a process is killed it reads from the end of the output.
"""
