"""What may not be read in traces and logs: a key, and the words of an answer."""

KEY = "Zq8-key/of+the~provider_0123456789"
SECRET_WORDS = ["zebra", "rash", "Quixote"]
ANSWER = "the zebra patient has a rash, said Quixote"
