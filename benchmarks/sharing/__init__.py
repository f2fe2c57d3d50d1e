"""What `benchmarks/shared_state.py` is made of."""
