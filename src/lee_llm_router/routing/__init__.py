"""Turns a role, messages and options into a plan."""
