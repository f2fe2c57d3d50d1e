"""Small parts that know nothing of models."""
