"""Makes the attempts of one call."""
