"""Carries HTTP requests."""
