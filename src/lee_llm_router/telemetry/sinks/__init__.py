"""Event sinks that come with the package."""
