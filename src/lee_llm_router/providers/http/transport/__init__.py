"""Carries HTTP requests: `api` is the contract, and `choice` picks and loads an implementation."""
