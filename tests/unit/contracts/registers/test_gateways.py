"""Where payloads are fetched: who says so, what is kept, and every refusal."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from contracts.lookup import find_gateway
from ledger.codec import Codec
from ledger.errors import InvalidEncoding
from ledger.governance.actions import RetireMember
from ledger.governance.keys import SetGateway
from ledger.state import MapState
from tests.builders import HEIGHT, ballot, propose
from tests.certificates import certificate_of, der_of
from tests.unit.contracts.governance.parts import (
    ASIDE,
    FIRST,
    SECOND,
    after,
    block,
    faults,
    found,
    gateway,
    passed,
    second_admin,
    with_second_admins,
)
from tests.unit.contracts.samples import states

ACTIONS = Codec(SetGateway, size_bytes_max=16_384)
HOSTS = ("gate", "gate.example.org", "a-1.b2", "192.0.2.1", "[2001:db8::1]", "[::ffff:192.0.2.1]")
NO_HOSTS = ("a..b", "a-.b", "a.b-", "x" * 64, "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4",
            "a.1", "[::1::]", "[1.2.3.4]", "[12345::]", "a.b.")  # fmt: skip
UNREAD = ("gate", "gate:", "gate:0", "gate:65536", "gate:080", "Gate:1", "gate:1 ", " gate:1",
          "gate:1\n", "::1:80", "[fe80::1%eth0]:1", "a_b:1", "https://gate:1", "gate:1/x",
          "-a:1", "")  # fmt: skip


def seen(state: MapState, member: str = FIRST) -> tuple[str, tuple[bytes, ...], int]:
    held = find_gateway(state, member)
    assert held is not None
    return held.address, held.certificates, held.height


def test_it_is_kept_with_its_height_and_replaced_as_a_whole() -> None:
    state = after(*passed(gateway(labels=("one", "two"))))
    assert seen(state) == ("gate.example.org:8443", (der_of("one"), der_of("two")), HEIGHT + 1)
    moved = gateway(address="192.0.2.1:1", labels=("two",))
    block(state, *passed(moved, label="moved"), height=HEIGHT + 5)
    assert seen(state) == ("192.0.2.1:1", (der_of("two"),), HEIGHT + 6)
    assert find_gateway(state, SECOND) is None


def test_two_own_administrators_publish_it_and_one_does_not() -> None:
    state = with_second_admins(FIRST, SECOND)
    opened, stranger = propose(gateway()), propose(gateway(), member=SECOND)
    block(state, opened, stranger, ballot(stranger, SECOND, key=second_admin(SECOND)))
    assert found(state, opened).status == found(state, stranger).status == "open"
    assert find_gateway(state, FIRST) is None
    block(state, ballot(opened, FIRST, key=second_admin(FIRST)), height=HEIGHT + 1)
    assert found(state, opened).status == "in_force"
    assert seen(state)[0] == "gate.example.org:8443"


def test_it_stays_when_its_member_retires() -> None:
    state = after(*passed(gateway(ASIDE)))
    block(state, *passed(RetireMember(member=ASIDE, grounds="x"), label="r"), height=HEIGHT + 1)
    assert seen(state, ASIDE)[0] == "gate.example.org:8443"
    assert faults(state, gateway(ASIDE, "gate:2")) == ["member-state"]


@pytest.mark.parametrize("host", HOSTS)
def test_addresses_that_are_taken(host: str) -> None:
    assert faults(states(), gateway(address=f"{host}:65535")) == []


@pytest.mark.parametrize("host", NO_HOSTS)
def test_hosts_that_are_refused(host: str) -> None:
    assert faults(states(), gateway(address=f"{host}:8443")) == ["gateway-address-invalid"]


@pytest.mark.parametrize("address", UNREAD)
def test_addresses_that_no_event_can_hold(address: str) -> None:
    with pytest.raises(InvalidEncoding):
        ACTIONS.decode(ACTIONS.encode(gateway(address=address)))


@pytest.mark.parametrize(
    "certificates", [(), (b"",), (b"0" * 4_097,), tuple(map(der_of, ("one", "two", "three")))]
)
def test_certificates_that_no_event_can_hold(certificates: tuple[bytes, ...]) -> None:
    action = SetGateway(member=FIRST, address="gate:1", certificates=certificates)
    with pytest.raises(InvalidEncoding):
        ACTIONS.decode(ACTIONS.encode(action))


def test_certificates_that_are_refused() -> None:
    state = states()
    foreign = certificate_of(issuer="somebody").public_bytes(Encoding.DER)
    wrong = SetGateway(member=FIRST, address="gate:1", certificates=(der_of("one"), foreign))
    assert faults(state, wrong) == ["gateway-certificate-invalid"]
    assert faults(state, gateway(labels=("one", "one"))) == ["gateway-certificate-invalid"]


def test_what_is_so_already_or_of_nobody_is_refused() -> None:
    state = after(*passed(gateway()))
    assert faults(state, gateway()) == ["unchanged"]
    assert faults(state, gateway(labels=("one", "two"))) == []
    assert faults(state, gateway("nobody")) == ["member-unknown"]
