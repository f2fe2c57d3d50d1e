"""Wire formats: a folder for each, and what they share. Pure, apart from the provider types that are made of them."""
