"""Data between two agencies: real nodes, real gateways, real TLS, killed wherever it hurts."""

import json
import socket
import sqlite3
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from asyncinotify import Inotify, Mask

from tests.e2e.gateways import Gate, gates
from tests.e2e.network import ASKER, OWNER, Net, running
from tools.sample.records import MAKERS, Dice

# Ten starts of a gateway in one test take half a minute where two cores serve many.
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

FIELDS = ("uscc", "name", "type", "industry", "status", "registered-on", "address")


ASKED = {
    "dataset": "registration", "purpose": "assessment", "legal_basis": "tcal-6",
    "fields": ["uscc", "name"], "period_from": "2026-01-01", "period_to": "2026-03-31",
    "urgency": "normal", "retention_days": 90, "case": "case",
}  # fmt: skip


def taxpayers(count: int) -> list[dict[str, Any]]:
    dice = Dice("gateway")
    return [dict(MAKERS["registration"](dice, number)) for number in range(1, count + 1)]


def write_records(gate: Gate, rows: list[dict[str, Any]]) -> None:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    part = gate.directory / "records" / "registration.csv.part"
    part.write_text("\n".join(lines) + "\n", "utf-8")
    part.rename(part.with_suffix(""))


def kinds_of(net: Net, exchange: str) -> list[str]:
    """Kinds of the applied events of an exchange, in order."""
    return [row["event"]["kind"] for row in history_of(net, exchange) if row["outcome"]["applied"]]


def history_of(net: Net, exchange: str) -> list[dict[str, Any]]:
    """Records of an exchange; what a gateway waited for, its own node had first."""
    net.wait_level()
    return list(net.get(ASKER, f"/v1/requests/{exchange}").body["history"])


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("net") / "net") as made:
        yield made


@pytest.fixture
def pair(net: Net, tmp_path: Path) -> Iterator[tuple[Gate, Gate]]:
    with gates(net, tmp_path) as (asker, owner):
        yield asker, owner


def test_permitted_fields_of_the_subjects_travel_and_nothing_else(
    net: Net, pair: tuple[Gate, Gate]
) -> None:
    asker, owner = pair
    rows = taxpayers(50)
    write_records(owner, rows)
    asker.start()
    owner.start()
    wanted = [row["uscc"] for row in rows[10:13]]
    exchange = asker.ask(OWNER, wanted)["exchange"]
    job = asker.wait("acquire", exchange, "kept")
    assert job["record_count"] == 3
    assert asker.received(exchange) == [
        {"name": row["name"], "uscc": row["uscc"]} for row in rows[10:13]
    ]
    owner.wait("provide", exchange, "settled")
    assert kinds_of(net, exchange) == ["share.requested", "share.delivered", "share.received"]
    # The figures tell the same.
    figures = urllib.request.urlopen(owner.metrics()).read().decode()
    assert 'tallystick_gateway_jobs{side="provide",stage="settled"} 1.0' in figures
    # No sealed copy is left on either side, and nothing decrypted outside of the receiver's folder.
    assert list((owner.directory / "gateway-data" / "outbox").iterdir()) == []
    assert list((asker.directory / "gateway-data" / "inbox").iterdir()) == []
    for gate in pair:
        gate.stop()
        for path in (gate.directory / "gateway-data").rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not any(row["uscc"].encode() in data for row in rows[10:13]), path
    assert all(row["uscc"] not in asker.log() + owner.log() for row in rows)


def test_subjects_are_shown_to_the_own_agency_only(net: Net, pair: tuple[Gate, Gate]) -> None:
    asker, owner = pair
    rows = taxpayers(2)
    write_records(owner, rows)
    asker.start()
    owner.start()
    exchange = asker.ask(OWNER, [rows[0]["uscc"]])["exchange"]
    asker.wait("acquire", exchange, "kept")
    code, told = asker.call("GET", f"/v1/jobs/acquire/{exchange}/subjects")
    assert code == 200
    assert [each["id"] for each in told["subjects"]] == [rows[0]["uscc"]]
    assert len(told["subjects"][0]["blind"]) == 64
    # Another member's gateway, with a certificate of its own, gets nothing of this exchange.
    keys = asker.directory / "keys"
    context = ssl.create_default_context(cafile=str(owner.directory / "keys" / "gateway.crt"))
    context.load_cert_chain(keys / "gateway.crt", keys / "gateway-tls.key")
    address = (owner.directory / "gateway.toml").read_text().split('listen = "')[1]
    base = f"https://{address.split(chr(34))[0]}"
    for path, status in ((f"/v1/questions/{exchange}", 404), (f"/v1/payloads/{exchange}/1", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(base + path, context=context)
        assert refused.value.code == status
        refused.value.close()
    # Without a certificate that is on the ledger there is no connection at all.
    bare = ssl.create_default_context(cafile=str(owner.directory / "keys" / "gateway.crt"))
    host, port = base.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        bare.wrap_socket(plain, server_hostname=host) as line,
        suppress(ssl.SSLError, ConnectionError),
    ):
        line.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert line.recv(1) == b"", "an answer without a certificate"


def test_a_payload_that_was_altered_is_rejected_with_its_code_and_delivered_again(
    net: Net, pair: tuple[Gate, Gate]
) -> None:
    asker, owner = pair
    rows = taxpayers(3)
    asker.start()
    owner.start()
    exchange = asker.ask(OWNER, [rows[0]["uscc"]])["exchange"]
    # The owner knows who is asked about, but has no records yet; meanwhile the asker is away.
    owner.wait("provide", exchange, "prepare")
    asker.kill()
    write_records(owner, rows)
    owner.call("POST", f"/v1/jobs/provide/{exchange}/retry")
    owner.wait("provide", exchange, "offered")
    [path] = (owner.directory / "gateway-data" / "outbox").iterdir()
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    asker.start()
    job = owner.wait("provide", exchange, "held")
    assert job["fault"] == "delivery-rejected"
    assert "50001" in job["detail"]
    [record] = [
        row["event"]["body"]
        for row in history_of(net, exchange)
        if row["event"]["kind"] == "share.rejected"
    ]
    assert (record["code_set"], record["codes"]) == ("oecd-crs-sm-3.0", [50001])
    assert owner.call("POST", f"/v1/jobs/provide/{exchange}/retry")[0] == 200
    asker.wait("acquire", exchange, "kept")
    owner.wait("provide", exchange, "settled")
    assert kinds_of(net, exchange)[1:] == [
        "share.delivered", "share.rejected", "share.delivered", "share.received"
    ]  # fmt: skip


def test_a_correction_reaches_the_holder(net: Net, pair: tuple[Gate, Gate]) -> None:
    asker, owner = pair
    rows = taxpayers(5)
    write_records(owner, rows)
    asker.start()
    owner.start()
    exchange = asker.ask(OWNER, [rows[0]["uscc"]])["exchange"]
    owner.wait("provide", exchange, "settled")
    asker.wait("acquire", exchange, "kept")
    rows[0] = {**rows[0], "name": "更正后的名称"}
    write_records(owner, rows)
    reason = {"reason": "wrong-value", "text": "name"}
    code, job = owner.call("POST", f"/v1/jobs/provide/{exchange}/correct", reason)
    assert code == 200, job
    assert job["correction"] == 1
    owner.wait("provide", exchange, "settled")
    assert asker.received(exchange, 1) == [{"name": "更正后的名称", "uscc": rows[0]["uscc"]}]
    assert kinds_of(net, exchange)[3:] == ["share.corrected", "share.correction_acknowledged"]
    # Once more is an error that says so, not a second correction by accident.
    code, told = asker.call("POST", f"/v1/jobs/acquire/{exchange}/retry")
    assert (code, told["code"]) == (422, "job-not-held")


def test_a_fault_that_nobody_can_wait_out_is_held_and_goes_on_when_mended(
    net: Net, pair: tuple[Gate, Gate]
) -> None:
    asker, owner = pair
    rows = taxpayers(2)
    (owner.directory / "records" / "registration.csv").write_bytes(b"\x00\x01 not a table\n")
    asker.start()
    owner.start()
    exchange = asker.ask(OWNER, [rows[0]["uscc"]])["exchange"]
    job = owner.wait("provide", exchange, "held")
    assert job["fault"], job
    assert rows[0]["uscc"] not in json.dumps(job)
    assert kinds_of(net, exchange) == ["share.requested"]
    write_records(owner, rows)
    assert owner.call("POST", f"/v1/jobs/provide/{exchange}/retry")[0] == 200
    asker.wait("acquire", exchange, "kept")
    assert len(asker.received(exchange)) == 1


# The asker makes each stage durable only where a payload is large.
POINTS = {
    "owner": ("ask", "prepare", "deliver+event", "offered", "settled"),
    "asker": ("request+event", "open", "fetch", "answer+event", "kept"),
    "asker-of-much": ("fetch", "check", "hand", "answer+event", "kept"),
}


@pytest.mark.parametrize("who", ["owner", "asker", "asker-of-much"])
def test_killed_before_and_after_every_durable_change_the_exchange_completes_once(
    net: Net, tmp_path: Path, who: str
) -> None:
    """One exchange, and many lives of one gateway: each ends a little later in the exchange."""
    rows = taxpayers(3)
    with gates(net, tmp_path) as (asker, owner):
        write_records(owner, rows)
        victim, other = (owner, asker) if who == "owner" else (asker, owner)
        victim.start()
        victim.stop()
        other.start()
        before = exchanges_of(asker)
        lives = [(point, when) for point in POINTS[who] for when in ("before", "after")]
        known: set[str] = set()
        for point, when in lives:
            small = {"CRASH_SMALL": "0"} if who == "asker-of-much" else {}
            victim.start("tests.e2e.crashing_gateway", CRASH_AT=point, CRASH_WHEN=when, **small)
            if not known:
                with suppress(ConnectionError):  # the asker itself may be the one that dies
                    asker.ask(OWNER, [rows[0]["uscc"]])
            assert victim.wait_ended() == 9, (point, when, victim.log())
            # What was not durable before the first change never was.
            if (who, point, when) != ("asker", "request+event", "before"):
                known = exchanges_of(asker) - before
                assert len(known) == 1, (point, when)
        victim.start()
        [exchange] = known
        asker.wait("acquire", exchange, "kept")
        owner.wait("provide", exchange, "settled")
        kinds = ["share.requested", "share.delivered", "share.received"]
        assert kinds_of(net, exchange) == kinds
        assert len(asker.received(exchange)) == 1
        for gate, box in ((owner, "outbox"), (asker, "inbox")):
            assert list((gate.directory / "gateway-data" / box).iterdir()) == []


def exchanges_of(gate: Gate) -> set[str]:
    """Exchanges that are durable at a gateway, whether it runs or not."""
    path = gate.directory / "gateway-data" / "jobs.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        return {row[0].hex() for row in reader.execute("SELECT exchange FROM jobs")}


def test_files_in_the_drop_become_requests_and_offers_once(net: Net, tmp_path: Path) -> None:
    rows = taxpayers(4)
    with gates(net, tmp_path, settings={"gateway": {"drop": "drop"}}) as (asker, owner):
        write_records(owner, rows)
        drop = asker.directory / "drop"
        drop.mkdir()
        request = {"request": {**ASKED, "provider": OWNER}, "subjects": [rows[0]["uscc"]]}
        # One is there before the gateway starts, one comes later, one cannot be read.
        put(drop, "first.json", request)
        asker.start()
        owner.start()
        first = answer(drop, "done", "first.json")
        put(drop, "second.json", {**request, "subjects": [rows[1]["uscc"]]})
        (drop / "third.json").write_text("{")
        second = answer(drop, "done", "second.json")
        assert answer(drop, "failed", "third.json")["code"] == "body-malformed"
        asker.wait("acquire", first["exchange"], "kept")
        asker.wait("acquire", second["exchange"], "kept")
        assert first["status"] == second["status"] == "permitted"
        offer = {"manner": "spontaneous", "recipient": ASKER, **ASKED}
        put(owner.directory / "drop", "offer.json", {"offer": offer})
        offered = answer(owner.directory / "drop", "done", "offer.json")
        asker.wait("acquire", offered["exchange"], "kept")
        assert len(asker.received(offered["exchange"])) == 4
        about = {"offer": offer, "subjects": [rows[3]["uscc"]]}
        put(owner.directory / "drop", "about.json", about)
        named = answer(owner.directory / "drop", "done", "about.json")
        asker.wait("acquire", named["exchange"], "kept")
        assert [row["uscc"] for row in asker.received(named["exchange"])] == [rows[3]["uscc"]]
        # A file that a crash left on its way, before its request was durable, goes back and counts.
        asker.kill()
        left = drop / "taken" / f"{'0' * 64}.left.json"
        left.write_text(json.dumps({**request, "subjects": [rows[2]["uscc"]]}))
        asker.start()
        again = answer(drop, "done", "left.json")
        asker.wait("acquire", again["exchange"], "kept")
        assert list((drop / "taken").iterdir()) == []


def put(folder: Path, name: str, document: object) -> None:
    part = folder / f"{name}.part"
    part.write_text(json.dumps(document))
    part.rename(folder / name)


def answer(drop: Path, outcome: str, name: str) -> dict[str, Any]:
    """The result beside a file that was taken, as soon as the file is in its folder."""
    (drop / outcome).mkdir(exist_ok=True)
    with Inotify(sync_timeout=30) as watch:
        watch.add_watch(drop / outcome, Mask.MOVED_TO)
        while not (drop / outcome / name).exists():
            assert watch.sync_get() is not None, f"{name} is not in {outcome}"
    result = drop / outcome / name.replace(".json", ".result.json")
    return dict(json.loads(result.read_text()))
