"""Builds the TLS contexts: which authorities connections trust."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import certifi

from lee_llm_router.errors import ProviderError


def context_for(url: str, ca_file: str | None) -> ssl.SSLContext:
    """Return the TLS context for connections to `url`. It trusts the usual authorities and those in `ca_file`.

    Raises:
        ProviderError: `ca_file` cannot be used.
    """
    if url.startswith("http:"):
        return _empty_context()
    try:
        return _context(ca_file, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:  # ssl.SSLError is one
        raise ProviderError(f"ca_file cannot be used: {error.strerror or error}", final=True, sent=False) from error


@lru_cache(maxsize=16)
def _context(ca_file: str | None, usual_file: str | None, usual_folder: str | None) -> ssl.SSLContext:
    """Return the one context for these settings. It is shared: building it reads all authorities, which takes 20 ms."""
    # As in httpx, SSL_CERT_FILE takes precedence over SSL_CERT_DIR.
    capath = None if usual_file else usual_folder or None
    context = ssl.create_default_context(cafile=usual_file or (None if capath else certifi.where()), capath=capath)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=1)
def _empty_context() -> ssl.SSLContext:
    """Return a context for plain http, where no certificate is checked: it verifies, and trusts no authority."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
