"""Records what providers answer, and plays it again without a network: for tests."""
