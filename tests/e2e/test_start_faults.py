"""What a node says when it cannot start or go on: the fault, what to do, and a non-zero exit."""

import datetime as dt
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import ASKER, OWNER, Net, running
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
START_S_MAX = 30


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network that ran, made some blocks, and stopped."""
    folder = tmp_path_factory.mktemp("stopped") / "net"
    with running(folder) as net:
        for _ in range(3):
            net.submit_batch([net.request() for _ in range(20)])
    return folder


@pytest.fixture
def local(stopped: Path, tmp_path: Path) -> Localnet:
    """A copy of that folder for one test to break."""
    shutil.copytree(stopped, tmp_path / "net")
    return Localnet(tmp_path / "net")


def config_of(local: Localnet, member: str = ASKER) -> Path:
    return local.node_directory(member) / "node.toml"


def refuse(config: Path, code: int = 1) -> str:
    """What the node writes before it ends with `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "node", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=START_S_MAX,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def flip_bytes(path: Path, *places: float) -> None:
    """Change a byte at each of these fractions of the file."""
    data = bytearray(path.read_bytes())
    for place in places:
        data[int(len(data) * place)] ^= 0x55
    path.write_bytes(data)


def edit(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def data_dir(local: Localnet, member: str = ASKER) -> Path:
    return local.node_directory(member) / "data"


def damage_store(local: Localnet) -> None:
    files = sorted((data_dir(local) / "store").rglob("*"))
    tables = [path for path in files if path.suffix in (".log", ".ldb")]
    largest = max(tables, key=lambda path: path.stat().st_size)
    flip_bytes(largest, 0.2, 0.5, 0.7)


def test_a_damaged_store(local: Localnet) -> None:
    pytest.importorskip("plyvel")
    damage_store(local)
    said = refuse(config_of(local))
    assert "remove the folder" in said
    assert str(data_dir(local) / "store") in said


def test_a_node_gets_the_log_again_after_its_damaged_store_was_removed(local: Localnet) -> None:
    shutil.rmtree(data_dir(local) / "store")
    local.start()
    try:
        local.wait_ready()
        net = Net.__new__(Net)
        net.local, net.members = local, local.members
        # The other may have been stopped a block behind.
        net.wait_level()
        assert net.entries(ASKER) == net.entries(OWNER)
    finally:
        local.stop()


def test_a_store_of_another_network(local: Localnet, tmp_path: Path) -> None:
    other = Net(tmp_path / "other").local
    shutil.copytree(data_dir(local), data_dir(other))
    assert "[start-activation-other]" in refuse(config_of(other))
    command = [sys.executable, "-m", "node", "--config", str(config_of(other)), "--activate"]
    subprocess.run(command, check=True, capture_output=True)
    said = refuse(config_of(other))
    assert "belongs to network" in said
    assert "[start-store-damaged]" in said


def test_a_damaged_tip(local: Localnet) -> None:
    pytest.importorskip("plyvel")
    import plyvel

    database = plyvel.DB(str(data_dir(local) / "store" / "leveldb"))
    try:
        tip = bytearray(database.get(b"Mtip"))
        tip[-1] ^= 1
        database.put(b"Mtip", bytes(tip))
    finally:
        database.close()
    assert "contradict" in refuse(config_of(local))


def test_damaged_votes(local: Localnet) -> None:
    wal = sorted((data_dir(local) / "wal").glob("*.wal"))[-1]
    flip_bytes(wal, 0.3)
    said = refuse(config_of(local))
    assert "a record at byte" in said
    assert "contradict its own votes" in said
    assert "[start-votes-damaged]" in said


@pytest.mark.parametrize("name", ["peers", "api", "metrics"])
def test_a_busy_port(local: Localnet, name: str) -> None:
    node = local.node(ASKER)
    host, port = getattr(node, name).removeprefix("http://").rsplit(":", 1)
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, int(port)))
        holder.listen()
        said = refuse(config_of(local))
    assert port in said
    assert f"[start-{'peer' if name == 'peers' else 'api'}-address]" in said
    assert "Stop the program that holds the port" in said


def test_an_expired_certificate(tmp_path: Path) -> None:
    create_network(
        tmp_path / "net",
        source=read_source(),
        nodes=4,
        policy_set=shipped_policy_set(),
        now=dt.datetime.now(dt.UTC) - dt.timedelta(days=1_000),
    )
    said = refuse(config_of(Localnet(tmp_path / "net")))
    assert "is valid from" in said
    assert "Renew the certificate" in said


def test_a_wrong_key(local: Localnet) -> None:
    keys, others = (local.node_directory(member) / "keys" for member in (ASKER, OWNER))
    shutil.copy(others / "consensus.key", keys / "consensus.key")
    assert "[start-activation-other]" in refuse(config_of(local))


def test_a_certificate_of_another_node(local: Localnet) -> None:
    keys, others = (local.node_directory(member) / "keys" for member in (ASKER, OWNER))
    for name in ("tls.cert.pem", "tls.key.pem"):
        shutil.copy2(others / name, keys / name)
    assert "[start-certificate-unpinned]" in refuse(config_of(local))


def test_a_tls_key_of_another_certificate(local: Localnet) -> None:
    keys, others = (local.node_directory(member) / "keys" for member in (ASKER, OWNER))
    shutil.copy(others / "tls.key.pem", keys / "tls.key.pem")
    assert "[start-certificate-key-other]" in refuse(config_of(local))


@pytest.mark.parametrize("name", ["consensus.key", "cosigning.key", "log.key", "tls.key.pem"])
def test_a_key_that_others_can_read(local: Localnet, name: str) -> None:
    path = local.node_directory(ASKER) / "keys" / name
    path.chmod(0o640)
    said = refuse(config_of(local))
    assert "(mode 0640) [start-key-open]" in said
    assert f"chmod 600 {path}" in said


def test_every_fault_of_a_configuration_at_once(local: Localnet) -> None:
    config = config_of(local)
    edit(config, 'level = "info"', 'level = "loud"')
    edit(config, "connections_max = 512", "connections_max = 1")
    edit(config, 'storage = "auto"', 'storages = "auto"')
    said = refuse(config)
    lines = config.read_text().split("\n")
    for key, section in (("level", "logging"), ("connections_max", "limits"), ("storages", "node")):
        number = next(at for at, line in enumerate(lines, 1) if line.startswith(f"{key} "))
        assert f"line {number}: [{section}] {key}: " in said


def test_a_genesis_that_cannot_be_read_or_is_not_valid(local: Localnet) -> None:
    config = config_of(local)
    local.genesis_path.write_bytes(b"{}")
    assert "[start-genesis-invalid]" in refuse(config)
    local.genesis_path.unlink()
    assert "[start-genesis-unreadable]" in refuse(config)


def test_a_second_process_on_one_data_directory(local: Localnet) -> None:
    local.start()
    try:
        local.wait_ready()
        said = refuse(config_of(local))
        assert f"{data_dir(local)} [start-data-in-use]" in said
        assert local.pid(ASKER)
    finally:
        local.stop()


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with running(tmp_path / "net") as made:
        yield made


def test_a_full_disk_stops_the_node_and_loses_nothing_final(net: Net) -> None:
    finals = [net.request() for _ in range(50)]
    results = net.submit_batch(finals)
    assert {each["state"] for each in results} == {"final"}
    net.wait_height(OWNER, max(each["height"] for each in results))
    # From now on no file of this process can grow, as on a disk that is full.
    victim = net.local.pid(OWNER)
    resource.prlimit(victim, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
    net.submit_final(net.request(), ASKER)
    ended = os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert ended.si_status == 1
    said = net.local.log_tail(OWNER)
    assert "storage failed; the node stops, everything final is kept" in said
    assert "free disk space" in said
    net.local.start([OWNER])
    net.local.wait_ready([OWNER])
    for event in finals:
        status = net.get(OWNER, f"/v1/events/{event.digest.hex()}").body
        assert status["state"] == "final"
    height = net.submit_final(net.request(), OWNER)["height"]
    net.wait_height(ASKER, height)
    assert net.entries(ASKER) == net.entries(OWNER)


def test_a_damaged_access_log_stops_the_start(local: Localnet) -> None:
    folder = local.node_directory(ASKER) / "data" / "access"
    assert folder.is_dir()
    (folder / "29990101-000000000001.jsonl").write_bytes(b"no line\n")
    said = refuse(config_of(local))
    assert "[start-access-damaged]" in said
    assert "move it away" in said


def test_a_faulty_file_of_webhooks_stops_the_start(local: Localnet) -> None:
    config = config_of(local)
    config.write_text(config.read_text() + '\n[webhooks]\nfile = "hooks.toml"\n')
    assert "hooks.toml" in refuse(config)
    config.with_name("hooks.toml").write_text('[[hook]]\nid = "a"\n')
    said = refuse(config)
    assert "[start-config-invalid]" in said
    assert "[[hook]] 1: " in said
    assert "Object missing required field `url`" in said
