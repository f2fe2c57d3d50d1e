"""Answers that are kept, so that an equal request is not asked again: the stores, the keys, the flights under way."""
