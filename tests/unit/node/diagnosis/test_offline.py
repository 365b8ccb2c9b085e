"""What keeps a node from starting, found in its files: each test breaks one thing."""

import datetime as dt
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.genesis import Genesis, decode_genesis_json, encode_genesis_json, hash_genesis
from ledger.log import Log
from ledger.registry import Validator
from ledger.storage import ENGINES, open_store
from node.activation import STORE, WAL, activate
from node.config import read_config
from node.diagnosis.machine import read_disk, read_expiry_ms, size_folder
from node.diagnosis.offline import LOCK, Stored, diagnose_offline, judge_clock, judge_listing
from node.diagnosis.rules import DAY_MS, MIB, Severity, judge_certificate, judge_disk
from node.diagnosis.words import catalogue, describe
from node.simplex.wal import MAGIC
from node.startup import lock_data_dir, read_identity
from tests.unit.node.diagnosis.test_rules import OFFLINE
from tools.founding import read_source, signatures_path
from tools.localnet import Localnet, create_network, shipped_policy_set

NOW = dt.datetime.now(dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)


class Place:
    """The files of one node that was started once and stopped."""

    def __init__(self, local: Localnet) -> None:
        self.local = local
        self.member = local.members[0]
        self.folder = local.node_directory(self.member)
        self.config_path = self.folder / "node.toml"
        self.data = self.folder / "data"
        self.genesis: Genesis = decode_genesis_json(local.genesis_path.read_bytes())
        config = read_config(self.config_path)
        os.close(lock_data_dir(self.data))
        key = read_identity(config, self.genesis).consensus.public
        activate(self.data, network=hash_genesis(self.genesis), consensus_key=key)
        store = open_store(self.data / STORE)
        Log(store, self.genesis)
        store.close()

    def edit(self, old: str, new: str) -> None:
        text = self.config_path.read_text()
        assert old in text
        self.config_path.write_text(text.replace(old, new))

    def codes(self, wall_ms: int = NOW_MS) -> set[str]:
        findings = diagnose_offline(self.config_path, wall_ms=wall_ms)
        for finding in findings:
            assert describe(finding, "zh").advice
            assert describe(finding, "en").advice
        return {finding.code for finding in findings}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(
        create_network(
            tmp_path / "net",
            source=read_source(),
            nodes=4,
            policy_set=shipped_policy_set(),
            now=NOW,
        )
    )


def test_a_node_in_order_can_start(place: Place) -> None:
    assert place.codes() == {"ready-to-start"}


def misspell_setting(place: Place) -> None:
    place.edit("[limits]", "[limit]")


def lose_genesis(place: Place) -> None:
    place.local.genesis_path.unlink()


def take_other_genesis(place: Place) -> None:
    other = decode_genesis_json(
        encode_genesis_json(place.genesis).replace(b"demo.tallystick", b"other.tallystick")
    )
    place.local.genesis_path.write_bytes(encode_genesis_json(other))


def lose_signatures(place: Place) -> None:
    signatures_path(place.local.genesis_path).unlink()


def open_key(place: Place) -> None:
    (place.folder / "keys" / "consensus.key").chmod(0o644)


def swap_certificate(place: Place) -> None:
    other = place.local.node_directory(place.local.members[1]) / "keys"
    for name in ("tls.cert.pem", "tls.key.pem"):
        (place.folder / "keys" / name).write_bytes((other / name).read_bytes())


def forget_peer(place: Place) -> None:
    place.edit(f'"{place.local.members[1]}" = ', '"cn-9999-tax" = ')


def lose_activation(place: Place) -> None:
    (place.data / "activation.json").unlink()


def break_votes(place: Place) -> None:
    path = next((place.data / WAL).glob("*.wal"))
    path.write_bytes(b"XX" + MAGIC)


def break_store(place: Place) -> None:
    for path in (place.data / STORE).rglob("CURRENT"):
        path.write_bytes(b"MANIFEST-999999\n")


def lose_data(place: Place) -> None:
    place.edit('data_dir = "data"', 'data_dir = "elsewhere"')


BROKEN: list[tuple[Callable[[Place], None], set[str]]] = [
    (misspell_setting, {"config-invalid"}),
    (lose_genesis, {"genesis-invalid"}),
    (take_other_genesis, {"genesis-unsigned", "store-damaged", "not-activated"}),
    (lose_signatures, {"genesis-unsigned"}),
    (open_key, {"keys-invalid"}),
    (swap_certificate, {"listing-invalid"}),
    (forget_peer, {"peers-incomplete"}),
    (lose_activation, {"not-activated"}),
    (break_votes, {"votes-damaged"}),
    (break_store, {"store-damaged"}),
    (lose_data, {"ready-to-start", "data-missing"}),
]


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: row[0].__name__)
def test_what_keeps_it_from_starting(
    place: Place, row: tuple[Callable[[Place], None], set[str]]
) -> None:
    row[0](place)
    assert place.codes() == row[1]


def test_a_process_that_holds_the_data_directory(place: Place) -> None:
    descriptor = lock_data_dir(place.data)
    assert place.codes() == {"node-running"}
    os.close(descriptor)
    assert place.codes() == {"ready-to-start"}


def test_looking_changes_nothing(place: Place) -> None:
    wal = next((place.data / WAL).glob("*.wal"))
    torn = wal.read_bytes() + b"\0\0\0\x09torn"
    wal.write_bytes(torn)
    (place.data / LOCK).unlink()
    assert place.codes() == {"ready-to-start"}
    assert wal.read_bytes() == torn
    assert not (place.data / LOCK).exists()


def test_a_taken_port_is_named_with_its_setting(place: Place) -> None:
    config = read_config(place.config_path)
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", config["api", "listen"].port))
        holder.listen()
        findings = diagnose_offline(place.config_path, wall_ms=NOW_MS)
    assert [finding.code for finding in findings] == ["port-taken"]
    assert findings[0].values["setting"] == "[api] listen"


def test_a_clock_before_the_founding(place: Place) -> None:
    assert place.codes(NOW_MS - 2 * DAY_MS) == {"clock-before-genesis"}


def test_a_node_may_know_addresses_of_agencies_that_joined_since(place: Place) -> None:
    place.edit("[peers.addresses]\n", '[peers.addresses]\n"cn-9999-tax" = "127.0.0.1:7999"\n')
    assert place.codes() == {"peers-incomplete"}, "the log that lies here does not know it"
    shutil.rmtree(place.data / STORE)
    assert place.codes() == {"ready-to-start"}


def test_a_node_whose_list_comes_next_or_is_gone(place: Place) -> None:
    identity = read_identity(read_config(place.config_path), place.genesis)
    first, *others = place.genesis.validators
    for stored, codes in (
        (stored_with(place.genesis.validators), []),
        (stored_with(others, following=(first,)), ["standing-joining"]),
        (stored_with(others), ["standing-observer"]),
    ):
        found = judge_listing(identity, stored, is_new=False)
        assert [finding.code for finding in found] == codes
    assert list(judge_listing(identity, stored_with(others), is_new=True)) == []


def stored_with(validators: Iterable[Validator], **changed: Any) -> Stored:
    fields: dict[str, Any] = {"following": (), "unknown": (), "missing": ()}
    fields |= {"tip_time_ms": 0, "precision_ms": 500}
    return Stored(validators=tuple(validators), **{**fields, **changed})


def test_a_clock_before_the_tip(place: Place) -> None:
    # The tip of an empty log has the time of the genesis: a store of the future, then.
    stored = stored_with((), tip_time_ms=NOW_MS + DAY_MS)
    found = list(judge_clock(place.genesis, stored, NOW_MS))
    assert [finding.code for finding in found] == ["clock-before-tip"]
    # As exact as members have agreed that clocks are.
    for ahead_ms, codes in ((501, ["clock-before-tip"]), (500, [])):
        stored = stored_with((), tip_time_ms=NOW_MS + ahead_ms)
        found = list(judge_clock(place.genesis, stored, NOW_MS))
        assert [finding.code for finding in found] == codes


def test_an_own_certificate_that_ends_soon(place: Place) -> None:
    end_ms = read_expiry_ms(
        read_identity(read_config(place.config_path), place.genesis).certificate
    )
    assert place.codes(end_ms - 20 * DAY_MS) == {"certificate-expires-own"}
    # Past its end the node would not start, whatever the clock of this test says.
    found = list(judge_certificate("a", end_ms, end_ms + 1, whose="own"))
    assert [finding.code for finding in found] == ["certificate-expired-own"]


@pytest.mark.parametrize(
    ("free_mb", "code"), [(1, "disk-full"), (1_500, "disk-low"), (4_000, "disk-low"), (9_000, "")]
)
def test_the_disk_as_the_system_describes_it(place: Place, free_mb: int, code: str) -> None:
    def statvfs(path: Path) -> SimpleNamespace:
        assert path == place.data
        return SimpleNamespace(f_bavail=free_mb * 256, f_blocks=100_000 * 256, f_frsize=4_096)

    disk = read_disk(place.data, sync_ms=1, statvfs=statvfs)
    assert disk.engine in ENGINES
    assert (disk.free_bytes, disk.total_bytes) == (free_mb * MIB, 100_000 * MIB)
    assert disk.store_bytes == size_folder(place.data / STORE) > 0
    assert [finding.code for finding in judge_disk(disk)] == ([code] if code else [])


def test_the_findings_as_a_program(place: Place) -> None:
    lose_activation(place)
    command = [sys.executable, "-m", "node.diagnosis", "--config", str(place.config_path)]
    done = subprocess.run([*command, "--lang", "zh"], capture_output=True, text=True, check=True)
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["code"], finding["severity"]) == ("not-activated", Severity.FAULT.word)
    assert finding["title"] == catalogue("zh")["not-activated"]["title"]


def test_every_code_found_offline_has_words() -> None:
    assert set(catalogue("en")) >= OFFLINE
