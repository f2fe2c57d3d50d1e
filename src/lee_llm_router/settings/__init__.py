"""The base classes and field types that all settings models share."""
