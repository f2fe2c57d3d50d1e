"""Runs child processes and cleans up after them. No other folder starts a process."""
