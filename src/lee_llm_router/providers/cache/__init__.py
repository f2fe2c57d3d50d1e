"""Cached answers, so that an equal request is not sent again: the stores, the keys, the requests in flight."""
