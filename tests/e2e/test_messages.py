"""Messages of the reporting standard between two agencies: real nodes, gateways, schemas, history.

The form of the payloads and the reference key are voted on; each agency has its own pinned schema.
"""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ledger.events import ShareWithdrawn
from ledger.exchange.references import REFERENCES_MAX
from ledger.governance.actions import Action, SetCodeList
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.governance.registers import Code, CodeList
from node.crs.references import make_key
from node.crs.status import StatusMessage, read_status
from tests.e2e.gateways import RECEIVER, Gate, gates
from tests.e2e.network import ASKER, OWNER, Net, running
from tests.e2e.test_gateway import exchanges_of, history_of, kinds_of
from tests.unit.node.crs import messages as m
from tools.client import Client

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

CONNECTOR = {
    "name": "folder",
    "options": {
        "path": "records", "files": "{requester}-{period}.xml", "format": "message"
    },
}  # fmt: skip
SETTINGS = """
[messages.account]
schema = "schema"
reference_keys = ["reference-2024.key"]
holds = "file"
"""
OFFER = {
    "recipient": ASKER, "manner": "automatic", "dataset": "account",
    "purpose": "automatic-exchange", "legal_basis": "crs-mcaa", "period_from": "2024-01-01",
    "period_to": "2024-12-31", "urgency": "normal", "retention_days": 365, "case": "",
}  # fmt: skip


def code_list(name: str, code: str, value: str) -> SetCodeList:
    listed = CodeList(
        id=name, version=1, name_zh=name, name_en=name, authority="members", source="",
        codes=(Code(code=code, name_zh=value, name_en=value),),
    )  # fmt: skip
    return SetCodeList(code_list=listed)


async def carry(net: Net, *actions: Action) -> None:
    """Propose, and vote until it is carried."""
    async with Client(net.local.node(ASKER).api, net.genesis) as client:

        async def act(member: str, body: GovernanceProposed | GovernanceBalloted) -> bytes:
            event = await client.sign(net.key(member, "admin"), member=member, body=body)
            record = await client.execute(event)
            assert record.outcome.applied, record.outcome
            return event.digest

        height = int((await client.get_json("/v1/status"))["height"])
        body = GovernanceProposed(
            actions=actions, text="", activate_height=0, ballots_until_height=height + 1_000
        )
        proposal = await act(ASKER, body)
        for member in net.members:
            told = await client.get_json(f"/v1/proposals/{proposal.hex()}")
            if told["status"] == "open" and member != ASKER:
                await act(member, GovernanceBalloted(proposal=proposal, approve=True, text=""))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("net") / "net") as made:
        yield made


@pytest.fixture(scope="module")
def key(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The members have voted on it, and on which dataset is of messages."""
    path = tmp_path_factory.mktemp("key") / "reference-2024.key"
    made = make_key(path, "2024")
    forms = code_list("payload-forms", "account", "crs")
    asyncio.run(carry(net, forms, code_list("reference-keys", "2024", made.id.hex())))
    return path


@pytest.fixture
def pair(net: Net, key: Path, tmp_path: Path) -> Iterator[tuple[Gate, Gate]]:
    with gates(net, tmp_path, datasets={"account": CONNECTOR}, receiver=RECEIVER) as made:
        for gate in made:
            with (gate.directory / "gateway.toml").open("a") as file:
                file.write(SETTINGS)
            (gate.directory / "schema").symlink_to(m.SCHEMA_FOLDER)
            copied = gate.directory / "reference-2024.key"
            copied.touch(mode=0o600)
            copied.write_bytes(key.read_bytes())
        yield made


def export(owner: Gate, text: str) -> bytes:
    """The owner's systems put a message where its gateway finds it."""
    path = owner.directory / "records" / f"{ASKER}-2024.xml.part"
    path.write_text(text, "utf-8")
    path.rename(path.with_suffix(""))
    return text.encode()


def offer(net: Net, owner: Gate, *, without: int = 0) -> str:
    datasets = net.get(OWNER, "/v1/datasets").body["items"]
    fields = [
        field["id"] for each in datasets if each["id"] == "account" for field in each["fields"]
    ]
    code, answer = owner.call("POST", "/v1/offers", {**OFFER, "fields": fields[without:]})
    assert (code, answer["decision"]) == (200, "permit"), answer
    return str(answer["exchange"])


def status_at(gate: Gate, side: str, exchange: str) -> tuple[int, StatusMessage]:
    """The status message at one side, and the number of the delivery that it is about."""
    code, told = gate.call("GET", f"/v1/jobs/{side}/{exchange}/status-message")
    assert code == 200, told
    return told["correction"], read_status(base64.b64decode(told["document"]))


def rejections(net: Net, exchange: str) -> list[dict[str, Any]]:
    history = history_of(net, exchange)
    return [row["event"]["body"] for row in history if row["event"]["kind"] == "share.rejected"]


def test_messages_are_received_rejected_corrected_and_their_history_is_known(
    net: Net, pair: tuple[Gate, Gate]
) -> None:
    asker, owner = pair
    asker.start()
    owner.start()
    first = arrives(net, asker, owner)
    second = is_rejected(net, asker, owner)
    is_mended(asker, owner, second)
    is_corrected(net, asker, owner, first)
    is_refused(net, owner)
    for gate in pair:
        gate.stop()
        left = [path for path in (gate.directory / "gateway-data").rglob("*") if path.is_file()]
        assert not any(b"Zhang San" in path.read_bytes() for path in left)
        assert not [path for path in left if path.name.endswith((".references", ".sealed"))]


def arrives(net: Net, asker: Gate, owner: Gate) -> str:
    """One that is right arrives as it is, with the status message that its sender gets too."""
    data = export(owner, m.message())
    first = offer(net, owner)
    asker.wait("acquire", first, "kept")
    owner.wait("provide", first, "settled")
    place = asker.directory / "received" / f"{first}.0"
    assert (place / "message.xml").read_bytes() == data
    known = read_status((place / "status.xml").read_bytes())
    assert status_at(owner, "provide", first) == (0, known)
    assert (known.status, known.original_id) == ("Accepted", "DE2024CN0001")
    assert kinds_of(net, first) == [
        "share.offered", "share.referenced", "share.delivered", "share.received"
    ]  # fmt: skip
    return first


def is_rejected(net: Net, asker: Gate, owner: Gate) -> str:
    """One with a fault of a record is rejected, with the codes on both sides."""
    old = m.person(born="1850-01-01")
    faulty = m.body(m.institution("DE2024F2"), m.group(m.account("DE2024A2", holder=old)))
    export(owner, m.message(faulty, id_="DE2024CN0002"))
    second = offer(net, owner)
    held = owner.wait("provide", second, "held")
    assert (held["fault"], held["detail"][:5]) == ("delivery-rejected", "60014")
    [rejected] = rejections(net, second)
    assert (rejected["code_set"], rejected["codes"]) == ("oecd-crs-sm-3.0", [60014])
    assert asker.wait("acquire", second, "open")["codes"] == [60014]
    for gate, side in ((owner, "provide"), (asker, "acquire")):
        number, status = status_at(gate, side, second)
        assert (number, status.status) == (0, "Rejected")
        assert [(each.code, each.documents) for each in status.record_errors] == [
            (60014, ("DE2024A2",))
        ]
    assert not (asker.directory / "received" / f"{second}.0").exists()
    return second


def is_mended(asker: Gate, owner: Gate, second: str) -> None:
    """Ids that were recorded stay used: the ledger refuses what would be sent under them again."""
    same = m.body(m.institution("DE2024F3"), m.group(m.account("DE2024A2")))
    export(owner, m.message(same, id_="DE2024CN0003"))
    owner.call("POST", f"/v1/jobs/provide/{second}/retry")
    assert owner.wait("provide", second, "held")["fault"] == "oecd-80000"
    mended = m.body(m.institution("DE2024F4"), m.group(m.account("DE2024A4")))
    export(owner, m.message(mended, id_="DE2024CN0004"))
    owner.call("POST", f"/v1/jobs/provide/{second}/retry")
    asker.wait("acquire", second, "kept")
    owner.wait("provide", second, "settled")
    number, status = status_at(owner, "provide", second)
    assert (number, status.status) == (1, "Accepted")


def is_corrected(net: Net, asker: Gate, owner: Gate, first: str) -> None:
    """A correction names what it corrects, and goes the way of corrections."""
    again = m.institution("DE2024F1", indicator="OECD0")
    fixed = m.account("DE2024A5", balance="99.00", indicator="OECD2", corrected="DE2024A1")
    body = m.body(again, m.group(fixed))
    data = export(owner, m.message(body, id_="DE2024CN0005", kind="CRS702"))
    order = {"reason": "wrong-value"}
    assert owner.call("POST", f"/v1/jobs/provide/{first}/correct", order)[0] == 200
    owner.wait("provide", first, "settled")
    assert status_at(owner, "provide", first)[0] == 1
    assert (asker.directory / "received" / f"{first}.1" / "message.xml").read_bytes() == data
    assert kinds_of(net, first)[4:] == [
        "share.referenced", "share.corrected", "share.correction_acknowledged"
    ]  # fmt: skip
    # What was corrected is no longer valid.
    more = m.account("DE2024A6", indicator="OECD2", corrected="DE2024A1")
    body = m.body(again, m.group(more))
    export(owner, m.message(body, id_="DE2024CN0006", kind="CRS702"))
    owner.call("POST", f"/v1/jobs/provide/{first}/correct", order)
    assert owner.wait("provide", first, "held")["fault"] == "oecd-80003"


def is_refused(net: Net, owner: Gate) -> None:
    """Part of a message is on the ledger when the rest is refused: it needs a new id as well."""
    many = [m.account(f"DE2024B{n}") for n in range(REFERENCES_MAX)]
    fi = m.institution("DE2024F7")
    export(owner, m.message(m.body(fi, m.group(*many, m.account("DE2024A4"))), id_="DE2024CN7"))
    third = offer(net, owner)
    assert owner.wait("provide", third, "held")["fault"] == "oecd-80000"
    export(owner, m.message(m.body(fi, m.group(*many, m.account("DE2024A9"))), id_="DE2024CN7"))
    owner.call("POST", f"/v1/jobs/provide/{third}/retry")
    assert owner.wait("provide", third, "held")["fault"] == "references-recorded"
    # A message cannot be sent without some of the fields.
    partial = offer(net, owner, without=1)
    assert owner.wait("provide", partial, "held")["fault"] == "message-fields-partial"
    for exchange in (third, partial):
        net.submit_final(net.sign(ShareWithdrawn(exchange=bytes.fromhex(exchange), text="")))
        owner.wait("provide", exchange, "closed")


def test_killed_around_what_only_messages_do_one_arrives_once(
    net: Net, pair: tuple[Gate, Gate]
) -> None:
    """Each life of the provider's gateway ends a little later in the exchange."""
    asker, owner = pair
    asker.start()
    body = m.body(m.institution("DE2024F90"), m.group(m.account("DE2024A90")))
    export(owner, m.message(body, id_="DE2024CN0090"))
    owner.start()
    owner.stop()
    before = exchanges_of(owner)
    for point in ("refer", "refer+event", "learn"):
        for when in ("before", "after"):
            owner.start("tests.e2e.crashing_gateway", CRASH_AT=point, CRASH_WHEN=when)
            if not exchanges_of(owner) - before:
                with suppress(ConnectionError):
                    offer(net, owner)
            assert owner.wait_ended() == 9, (point, when, owner.log())
    owner.start()
    [exchange] = exchanges_of(owner) - before
    owner.wait("provide", exchange, "settled")
    asker.wait("acquire", exchange, "kept")
    assert kinds_of(net, exchange) == [
        "share.offered", "share.referenced", "share.delivered", "share.received"
    ]  # fmt: skip
    assert status_at(owner, "provide", exchange)[1].status == "Accepted"
