"""Trace stores that come with the package."""
