"""The parts of `benchmarks/outage.py`."""
