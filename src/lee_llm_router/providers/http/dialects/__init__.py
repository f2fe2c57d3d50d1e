"""Wire formats: pure functions, no I/O."""
