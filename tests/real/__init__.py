"""Tests with a real model and the real codex binary (`make test-real`)."""
