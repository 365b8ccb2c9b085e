"""Where the payloads of members are fetched, and with which certificates those places are known."""

import ipaddress
import re
from collections.abc import Iterator

from contracts.governance.faults import Case, Fault
from contracts.governance.parties import member_faults
from contracts.lookup import find_gateway
from ledger.custody.certificates import verify_certificate
from ledger.errors import InvalidCertificate
from ledger.governance.keys import GATEWAYS, Gateway, SetGateway
from ledger.state import Overlay, gateway_key

# RFC 1123 section 2.1; the last label of a name is no number, or it would be read as an address.
_HOST = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def set_gateway(overlay: Overlay, action: SetGateway, case: Case) -> list[Fault]:
    """A member's payloads are fetched there. A dry run without a moment has no height."""
    faults = [*member_faults(overlay, action.member), *_address_faults(action.address)]
    faults += _certificate_faults(action.certificates)
    known = find_gateway(overlay, action.member)
    if known is not None and (known.address, known.certificates) == (
        action.address,
        action.certificates,
    ):
        faults.append(Fault(code="unchanged", detail=action.address))
    if faults or case.moment is None:
        return faults
    after = Gateway(
        member=action.member,
        address=action.address,
        certificates=action.certificates,
        height=case.moment.height,
    )
    overlay.put(gateway_key(action.member), GATEWAYS.encode(after))
    return faults


def _address_faults(address: str) -> Iterator[Fault]:
    """Strict reading of the event has found the port and the letters right."""
    host = address.rpartition(":")[0]
    if not _is_host(host):
        yield Fault(code="gateway-address-invalid", detail=address)


def _is_host(host: str) -> bool:
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
            return True
        label = host.rpartition(".")[2]
        if label.isascii() and label.isdigit():
            ipaddress.IPv4Address(host)
            return True
    except ValueError:
        return False
    return _HOST.match(host) is not None


def _certificate_faults(certificates: tuple[bytes, ...]) -> Iterator[Fault]:
    if len(frozenset(certificates)) < len(certificates):
        yield Fault(code="gateway-certificate-invalid", detail="one certificate stands there twice")
    for number, certificate in enumerate(certificates, 1):
        try:
            verify_certificate(certificate)
        except InvalidCertificate as error:
            detail = f"certificate {number}: {error}"
            yield Fault(code="gateway-certificate-invalid", detail=detail)
