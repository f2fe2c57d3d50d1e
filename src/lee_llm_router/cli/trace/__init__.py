"""The command `trace`: everything that shows traces."""
