"""Builds the TLS contexts: which authorities connections trust."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import certifi

from lee_llm_router._util.regular_files import open_regular_file
from lee_llm_router._util.shortage import lacking
from lee_llm_router.errors import ProviderError

TrustSource: TypeAlias = Literal["certifi", "system"]
"""Which authorities are trusted: those of certifi (or of SSL_CERT_FILE, SSL_CERT_DIR), or those of the system."""

_HINT = "to trust its authority, set ca_file, SSL_CERT_FILE, or trust: system"
_NO_MATTER_OF_TRUST = frozenset({9, 10, 62, 63, 64})
"""OpenSSL's numbers for certificates that are not yet valid, have expired, or have another name: other authorities do
not help."""


def context_for(url: str, ca_file: str | None, trust: TrustSource = "certifi") -> ssl.SSLContext:
    """Return the TLS context for connections to `url`. It trusts those of `trust` and those in `ca_file`.

    Raises:
        ProviderError: a file of authorities cannot be used, or the system's authorities need a package that is not
            installed.
    """
    if url.startswith("http:"):
        return _empty_context()
    return _context(ca_file, trust, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


def certificate_refused(error: ssl.SSLCertVerificationError) -> str:
    """Return in words why a certificate was refused, with a remedy if one is known."""
    reason = f"certificate refused: {error.verify_message}"
    return reason if error.verify_code in _NO_MATTER_OF_TRUST else f"{reason} ({_HINT})"


@lru_cache(maxsize=16)
def _context(
    ca_file: str | None, trust: TrustSource, usual_file: str | None, usual_folder: str | None
) -> ssl.SSLContext:
    """Return the context for these settings. It is shared: building one reads all authorities, which takes 20 ms."""
    if trust == "system":
        context = _system_context()
    else:
        # As in httpx, SSL_CERT_FILE takes precedence over SSL_CERT_DIR.
        capath = None if usual_file else usual_folder or None
        file = usual_file or (None if capath else certifi.where())
        try:
            if usual_file:
                _check_kind(usual_file)
            context = ssl.create_default_context(cafile=file, capath=capath)
        except OSError as error:  # ssl.SSLError is an OSError
            what = f"SSL_CERT_FILE ({usual_file})" if usual_file else "the list of authorities"
            raise _unusable(what, error) from error
    if ca_file is not None:
        try:
            _check_kind(ca_file)
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise _unusable("ca_file", error) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _check_kind(file: str) -> None:
    """Raise an OSError if `file` is no regular file: OpenSSL would wait for a FIFO's writer for ever."""
    os.close(open_regular_file(Path(file)))


def _unusable(what: str, error: OSError) -> ProviderError:
    """Return the error for authorities that cannot be loaded; `what` names the setting or variable."""
    short_of = lacking(error)
    if short_of is not None:
        message = f"{what} cannot be read: this machine has run out of {short_of}"
        return ProviderError(message, sent=False, local_shortage=True)
    is_read = isinstance(error, ssl.SSLError)
    reason = "it holds no certificate that can be read" if is_read else error.strerror or str(error)
    return ProviderError(f"{what} cannot be used: {reason}", final=True, sent=False)


def _system_context() -> ssl.SSLContext:
    try:
        import truststore  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = 'trust: system needs an extra: pip install "lee-llm-router[trust]"'
        raise ProviderError(message, final=True, sent=False) from error
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@lru_cache(maxsize=1)
def _empty_context() -> ssl.SSLContext:
    """Return a context for plain http, which checks no certificate: it verifies, and trusts no authority."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
