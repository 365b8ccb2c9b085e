"""TLS between agencies: certificates are pinned on the ledger, and no authority vouches for any."""

import ssl
from collections.abc import Iterable


def pinned_tls(
    protocol: "ssl._SSLMethod", certificate: str, key: str, pinned: Iterable[bytes]
) -> ssl.SSLContext:
    """TLS 1.3 that shows `certificate` and believes the pinned ones (DER) only."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # pinned by certificate, not by name
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(certificate, key)
    for each in pinned:
        context.load_verify_locations(cadata=each)
    return context
