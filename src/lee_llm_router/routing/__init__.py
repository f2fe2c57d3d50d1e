"""From a role, messages and options to a plan."""
