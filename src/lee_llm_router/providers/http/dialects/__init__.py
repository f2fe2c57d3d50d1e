"""Wire formats: a folder for each, and what they share. Pure, except for the provider types built on them."""
