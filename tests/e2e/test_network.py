"""Four real nodes: every way to submit ends in one record everywhere, bad input changes nothing.

One network serves the whole module; each test makes its own events.
"""

import asyncio
import base64
import json
from collections.abc import Iterator

import aiohttp
import msgspec
import pytest

from ledger.blocks import RECORDS
from ledger.events import Event, sign_event
from ledger.genesis import log_policy
from ledger.keys import SecretKey
from ledger.tlog.receipt import Receipt, verify_receipt
from tests.e2e.network import ASKER, JSON, MSGPACK, OWNER, Net, request_body, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("network") / "net") as made:
        yield made


def submit_as_msgpack(net: Net, event: Event) -> int:
    return int(net.submit_final(event)["index"])


def submit_as_json(net: Net, event: Event) -> int:
    data = json.dumps({"event": base64.b64encode(event.data).decode()}).encode()
    answer = net.call(ASKER, "POST", "/v1/events", data, Content_Type=JSON, Prefer="wait=20")
    assert answer.body["state"] == "final", answer.body
    return int(answer.body["index"])


def submit_as_batch(net: Net, event: Event) -> int:
    other = net.request()
    first, second = net.submit_batch([event, other])
    assert (first["state"], second["state"]) == ("final", "final")
    assert (first["digest"], second["digest"]) == (event.digest.hex(), other.digest.hex())
    return int(first["index"])


def submit_as_stream(net: Net, event: Event) -> int:
    async def submit() -> int:
        url = f"{net.local.node(ASKER).api}/v1/submit"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_close=2)) as socket,
        ):
            await socket.send_bytes(msgspec.msgpack.encode([event.data]))
            answers = msgspec.msgpack.decode(await socket.receive_bytes(timeout=20))
        assert [(each["digest"], each["state"]) for each in answers] == [(event.digest, "final")]
        return int(answers[0]["index"])

    return asyncio.run(submit())


@pytest.mark.parametrize(
    "submit", [submit_as_msgpack, submit_as_json, submit_as_batch, submit_as_stream]
)
def test_an_event_ends_in_the_same_record_on_all_nodes(net: Net, submit) -> None:
    event = net.request()
    index = submit(net, event)
    height = net.get(ASKER, f"/v1/entries/{index}").body["height"]
    entries = set()
    for member in net.members:
        net.wait_height(member, height)
        status = net.get(member, f"/v1/events/{event.digest.hex()}").body
        assert (status["state"], status["index"], status["height"]) == ("final", index, height)
        assert status["outcome"]["decision"] == "permit"
        by_nonce = net.get(member, f"/v1/members/{ASKER}/events/{event.nonce.hex()}").body
        assert by_nonce == status
        entry = net.entries(member)[index]
        entries.add(entry)
        receipt = Receipt.parse(net.wait_checkpoint(member, index + 1))
        verify_receipt(receipt, entry, log_policy(net.genesis))
    assert len(entries) == 1
    record = RECORDS.decode(entries.pop())
    assert record.event == event.data
    assert record.outcome.applied


def test_logs_are_equal_on_all_nodes_and_no_node_refuses_an_honest_peer(net: Net) -> None:
    last = net.submit_final(net.request(asker="cn-3205-tax", owner=ASKER), "cn-3100-tax")
    for member in net.members:
        net.wait_height(member, last["height"])
    logs = [net.entries(member) for member in net.members]
    assert all(log == logs[0] for log in logs)
    assert [net.local.log_tail(member).count("bad frame") for member in net.members] == [0] * 4


def test_the_life_of_an_exchange_over_two_nodes(net: Net) -> None:
    request = net.request()
    height = net.submit_final(request, ASKER)["height"]
    net.wait_height(OWNER, height)
    delivered = net.submit_final(net.deliver(request.digest), OWNER)
    net.wait_height(ASKER, delivered["height"])
    body = net.get(ASKER, f"/v1/requests/{request.digest.hex()}").body
    assert body["state"]["status"] == "delivered", body
    assert [each["event"]["kind"] for each in body["history"]] == [
        "share.requested",
        "share.delivered",
    ]


def test_an_idle_network_makes_no_blocks(net: Net) -> None:
    net.submit_final(net.request())
    before = settle(net)

    async def listen() -> bytes:
        # The stream says nothing for longer than several views would take.
        url = f"{net.local.node(ASKER).api}/v1/stream"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert await response.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
            async with asyncio.timeout(3):
                return await response.content.readuntil(b"\n\n")

    with pytest.raises(TimeoutError):
        asyncio.run(listen())
    assert settle(net) == before


def settle(net: Net) -> list[tuple[int, int, int]]:
    """Height, size and view of every node, once all have the highest block."""
    net.wait_level()
    statuses = [net.status(member) for member in net.members]
    return [(each["height"], each["tree_size"], each["view"]) for each in statuses]


# --- bad input -----------------------------------------------------------------------------------


def nested() -> bytes:
    return b"\x91" * 50_000 + b"\x90"


BAD_BYTES = {
    "empty": (b"", 400, "event-malformed"),
    "garbage": (b"\xc1garbage", 400, "event-malformed"),
    "nested": (nested(), 400, "event-malformed"),
    "larger-than-an-event": (bytes(60_001), 413, "event-too-large"),
    "larger-than-a-body": (bytes(200_000), 413, "body-too-large"),
}
BAD_EVENTS = {
    "wrong-network": (lambda net: net.request(network=bytes(32)), 422, "wrong-network"),
    "member-unknown": (
        lambda net: net.request(member="cn-9999-tax", key=net.key(ASKER, "requester")),
        403,
        "member-unknown",
    ),
    "officer-unknown": (lambda net: net.request(key=SecretKey(b"x" * 32)), 403, "officer-unknown"),
    "officer-of-another-member": (
        lambda net: net.request(key=net.key(OWNER, "requester")), 403, "officer-of-other-member",
    ),
    "wrong-role": (lambda net: net.request(role="approver"), 403, "role-missing"),
    "expired": (lambda net: net.request(expires_height=0), 422, "event-expired"),
    "expires-too-far": (
        lambda net: net.request(expires_height=10_000_000), 422, "expiry-too-far",
    ),
    "fields-outside-the-schema": (
        lambda net: net.request(fields=("shoe-size",)), 422, "field-unknown",
    ),
    "subject-repeated": (
        lambda net: net.request(subjects=(bytes(32), bytes(32))), 422, "subject-repeated",
    ),
    "legal-basis-unknown": (
        lambda net: net.request(legal_basis="none"), 422, "legal-basis-unknown",
    ),
    "exchange-unknown": (lambda net: net.deliver(bytes(32)), 404, "exchange-unknown"),
}  # fmt: skip


def check_refused(net: Net, data: bytes, status: int, code: str) -> None:
    """The refusal says what and what to do, in both languages, and changes nothing anywhere."""
    before = settle(net)
    answer = net.submit(data)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    body = answer.body
    assert (body["code"], body["type"]) == (code, f"urn:tallystick:problem:{code}")
    assert all(body[name] for name in ("title", "detail", "advice"))
    zh = net.call(
        ASKER, "POST", "/v1/events", data, Content_Type=MSGPACK, Accept_Language="zh"
    ).body
    assert (zh["code"], zh["title"] != body["title"]) == (code, True)
    assert settle(net) == before
    assert [net.status(member)["pending"] for member in net.members] == [0] * 4


@pytest.mark.parametrize("case", BAD_BYTES)
def test_bytes_that_are_no_event_are_refused(net: Net, case: str) -> None:
    check_refused(net, *BAD_BYTES[case])


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_an_event_against_the_rules_is_refused(net: Net, case: str) -> None:
    make, status, code = BAD_EVENTS[case]
    check_refused(net, make(net).data, status, code)


def test_truncated_and_tampered_events_are_refused(net: Net) -> None:
    data = net.request().data
    check_refused(net, data[:-1], 400, "event-malformed")
    check_refused(net, data + b"\0", 400, "event-malformed")
    check_refused(net, data[:-1] + bytes([data[-1] ^ 1]), 401, "signature-invalid")


def test_a_body_outside_the_schema_is_refused(net: Net) -> None:
    event = net.request()
    odd = event.data.replace(b"registration", b"registratioN")
    check_refused(net, odd, 400, "event-body-invalid")


def test_a_batch_answers_each_event_by_itself(net: Net) -> None:
    good, bad = net.request(), net.request(role="approver")
    results = net.submit_batch([bad, good, good])
    assert [each["state"] for each in results] == ["refused", "final", "final"]
    assert results[0]["code"] == "role-missing"
    assert results[1]["index"] == results[2]["index"]


def test_the_same_event_again_gives_the_first_outcome_on_every_node(net: Net) -> None:
    event = net.request()
    first = net.submit_final(event)
    before = settle(net)
    for member in net.members:
        assert net.submit_final(event, member) == first
    assert settle(net) == before


def test_another_body_under_the_same_nonce_is_a_conflict(net: Net) -> None:
    event = net.request()
    net.submit_final(event)
    rival = net.request(nonce=event.nonce, case="C-2")
    check_refused(net, rival.data, 409, "nonce-reused")


def test_a_legal_basis_that_is_not_in_force_is_a_recorded_denial(net: Net) -> None:
    event = net.request(legal_basis="yrd-pilot-2019")
    final = net.submit_final(event)
    assert final["outcome"]["decision"] == "deny", final
    assert final["code"] == "contract-denied"
    record = RECORDS.decode(net.entries(ASKER)[final["index"]])
    assert (record.event, record.outcome.decision) == (event.data, "deny")
    assert record.outcome.policies


def test_a_foreign_signature_over_the_right_body_is_refused(net: Net) -> None:
    key = net.key(ASKER, "requester")
    event = sign_event(
        key, network=net.id, member=ASKER, nonce=bytes(16), expires_height=100,
        body=request_body(),
    )  # fmt: skip
    stranger = SecretKey(b"s" * 32)
    forged = event.data.replace(key.public, stranger.public)
    assert forged != event.data
    check_refused(net, forged, 401, "signature-invalid")
