"""Carries HTTP requests: the contract is `api`, and `choice` picks and loads what fulfils it."""
