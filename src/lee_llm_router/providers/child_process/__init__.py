"""Runs child processes, and leaves nothing of them behind."""
