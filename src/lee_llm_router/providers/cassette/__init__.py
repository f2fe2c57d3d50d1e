"""Records what providers answer, and replays it without a network: for tests."""
