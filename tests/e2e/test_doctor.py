"""`tally doctor` against real processes: stopped, suspended, cut off by a wrong address, broken."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.e2e.network import JSON, Net, running
from tools.cli import main
from tools.exits import ERROR, OK, UNREACHABLE, WARNING
from tools.localnet import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

FOUND_S_MAX = 60
LOOK_S = 0.5
EXITS = {"ok": OK, "warning": WARNING, "fault": ERROR}


class Doctor:
    """The command's JSON document for a network, or for one node of it."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def look(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        words = ["doctor", *map(str, arguments), "--json", "--lang", "en"]
        result = CliRunner().invoke(main, words)
        assert result.stdout, result.output
        document = json.loads(result.stdout)
        is_answered = not document["nodes"] or any(each["answered"] for each in document["nodes"])
        expected = EXITS[document["severity"]] if is_answered else UNREACHABLE
        assert result.exit_code == expected
        return result.exit_code, document

    def network(self) -> tuple[int, dict[str, str]]:
        """Exit code, and code and text of every finding about the network."""
        exit_code, document = self.look("--dir", self.net.local.directory, "--network")
        return exit_code, _texts(document["network"])

    def node(self, member: str) -> tuple[int, dict[str, str]]:
        """The same of one node."""
        exit_code, document = self.look("--node", self.net.local.node(member).api)
        return exit_code, _texts(document["nodes"][0]["findings"])

    def node_until(self, member: str, *codes: str) -> dict[str, str]:
        """Findings of a node as soon as all of these are among them."""
        return _until(lambda: self.node(member)[1], codes)

    def network_until(self, *codes: str) -> dict[str, str]:
        """The same of the network."""
        return _until(lambda: self.network()[1], codes)


def _texts(findings: list[dict[str, str]]) -> dict[str, str]:
    return {each["code"]: f"{each['detail']} {each['advice']}" for each in findings}


def _until(look: Callable[[], dict[str, str]], codes: tuple[str, ...]) -> dict[str, str]:
    """Look again until found: what is found is that something did not happen for some seconds."""
    deadline = time.monotonic() + FOUND_S_MAX
    never = threading.Event()
    while True:
        found = look()
        if set(codes) <= set(found):
            return found
        assert time.monotonic() < deadline, f"{codes} not in {found}"
        never.wait(LOOK_S)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with running(tmp_path / "net") as made:
        yield made


@pytest.fixture
def doctor(net: Net) -> Doctor:
    return Doctor(net)


def test_a_healthy_network_and_one_stopped_node(net: Net, doctor: Doctor) -> None:
    net.submit_final(net.request())
    assert set(doctor.network_until("network-healthy")) == {"network-healthy"}
    gone = net.members[3]
    net.local.stop([gone])
    # Three of four are a quorum: things go on, and the one that is missing is named.
    net.submit_final(net.request())
    found = doctor.node_until(net.members[0], "peer-unreachable")
    assert net.local.node(gone).peers in found["peer-unreachable"]
    exit_code, found = doctor.network()
    assert exit_code == ERROR
    assert gone in found["process-down"]
    assert "no-quorum" not in found
    # Its files say that nothing keeps it from starting.
    exit_code, document = doctor.look("--config", net.local.node_directory(gone) / "node.toml")
    assert (exit_code, set(_texts(document["files"]))) == (OK, {"ready-to-start"})
    net.local.start([gone])
    net.local.wait_ready([gone])
    doctor.network_until("network-healthy")


def test_two_of_four_stopped_are_no_quorum(net: Net, doctor: Doctor) -> None:
    net.submit_final(net.request())
    gone = net.members[2:]
    net.local.stop(gone)
    first, second = net.members[:2]
    waiting = net.submit(net.request(), first, wait_s=1)
    assert waiting.status == http.client.ACCEPTED
    found = doctor.node_until(first, "quorum-missing", "no-finality")
    for member in gone:
        assert member in found["quorum-missing"]
    # What the view waits for is named, with whose votes are missing.
    waits = {code: text for code, text in found.items() if code.startswith("waits-for-")}
    assert waits, found
    assert any(gone[0] in text and gone[1] in text for text in waits.values()), waits
    exit_code, found = doctor.network()
    assert exit_code == ERROR
    assert "2 of 4 validators are there, 3 are needed" in found["no-quorum"]
    assert f"Start 1 of: {', '.join(gone)}" in found["no-quorum"]
    # One is enough: the event becomes final, and nothing is left to say but of the other.
    net.local.start([gone[0]])
    net.local.wait_ready([first, second, gone[0]])
    digest = waiting.body["digest"]
    assert net.get(first, f"/v1/events/{digest}?wait=30").body["state"] == "final"
    assert "no-quorum" not in doctor.network()[1]


def test_a_suspended_process(net: Net, doctor: Doctor) -> None:
    doctor.network_until("network-healthy")
    hung = net.members[1]
    pid = net.local.pid(hung)
    os.kill(pid, signal.SIGSTOP)
    try:
        exit_code, found = doctor.network()
        assert exit_code == ERROR
        assert f"kill -CONT {pid}" in found["process-stopped"]
        others = doctor.node_until(net.members[0], "peer-unreachable")
        assert hung in others["peer-unreachable"]
        assert doctor.node(hung)[0] == UNREACHABLE
    finally:
        os.kill(pid, signal.SIGCONT)
    doctor.network_until("network-healthy")


def test_a_wrong_address_of_a_peer(net: Net, doctor: Doctor) -> None:
    wrong, unheard = net.members[0], net.members[1]
    config = net.local.node_directory(wrong) / "node.toml"
    [port] = free_ports(1)
    text = config.read_text()
    address = net.local.node(unheard).peers
    assert f'"{unheard}" = "{address}"' in text
    net.local.stop([wrong])
    config.write_text(text.replace(address, f"127.0.0.1:{port}"))
    net.local.start([wrong])
    net.local.wait_ready([each for each in net.members if each != wrong])
    found = doctor.node_until(wrong, "peer-deaf")
    assert f"127.0.0.1:{port}" in found["peer-deaf"]
    doctor.node_until(unheard, "peer-silent")
    found = doctor.network_until("one-way")
    assert f"{unheard} does not hear {wrong}" in found["one-way"]
    assert f"127.0.0.1:{port}" in found["one-way"]


def test_files_that_keep_a_node_from_starting(net: Net, doctor: Doctor) -> None:
    broken = net.members[2]
    config = net.local.node_directory(broken) / "node.toml"
    running_code, document = doctor.look("--config", config)
    assert (running_code, set(_texts(document["files"]))) == (WARNING, {"node-running"})
    net.local.kill(broken)
    (net.local.node_directory(broken) / "keys" / "consensus.key").chmod(0o644)
    segment = next((net.local.node_directory(broken) / "data" / "wal").glob("*.wal"))
    segment.write_bytes(b"\xff" * 64)
    exit_code, document = doctor.look("--config", config)
    assert exit_code == ERROR
    found = _texts(document["files"])
    assert set(found) == {"keys-invalid", "votes-damaged"}
    assert "chmod 600" in found["keys-invalid"]
    # The same by the network, which knows where the files of a node are.
    assert {"process-down", "keys-invalid", "votes-damaged"} <= set(doctor.network()[1])


def test_the_diagnosis_is_served_in_both_languages_and_measured(net: Net, doctor: Doctor) -> None:
    member = net.members[0]
    doctor.node_until(member, "healthy")
    for language, title in (("en", "Nothing is wrong"), ("zh", "一切正常")):
        answer = net.call(member, "GET", "/v1/diagnosis", Accept_Language=language, Accept=JSON)
        assert answer.body["findings"][0]["title"] == title
    host = net.local.node(member).metrics
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    for line in (
        'findings{code="healthy",severity="ok"} 1.0',
        "stalled_seconds 0.0",
        "validator 1.0",
    ):
        assert f"tallystick_{line}" in text
    assert f'tallystick_peer_silent_seconds{{peer="{net.members[1]}"}}' in text
