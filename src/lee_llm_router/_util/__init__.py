"""Small modules that know nothing of models."""
