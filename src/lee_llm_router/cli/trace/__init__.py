"""The command `trace`: everything that shows what was traced."""
