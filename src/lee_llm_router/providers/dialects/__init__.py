"""Wire formats, one a file: pure functions between requests, bodies and responses. No I/O."""
