"""A consensus key signs only where it was activated, and only beside its own votes."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from node import activation
from node.activation import Outcome, activate, is_untouched, verify_activation
from tests.refusals import start_refused

NETWORK, OTHER_NETWORK = bytes(32), bytes([1]) * 32
KEY, OTHER_KEY = b"\x01" + bytes(32), b"\x01" + bytes([7]) * 32


def check(data_dir: Path, network: bytes = NETWORK, key: bytes = KEY) -> None:
    verify_activation(data_dir, network=network, consensus_key=key)


def act(data_dir: Path, network: bytes = NETWORK, key: bytes = KEY) -> Outcome:
    return activate(data_dir, network=network, consensus_key=key)


@pytest.fixture
def active(tmp_path: Path) -> Path:
    assert act(tmp_path) is Outcome.FIRST
    return tmp_path


def test_a_key_must_be_activated_once(tmp_path: Path) -> None:
    told = start_refused(lambda: check(tmp_path), "start-key-inactive")
    assert "tally node activate" in told.advice
    assert is_untouched(tmp_path)
    assert act(tmp_path) is Outcome.FIRST
    check(tmp_path)
    assert act(tmp_path) is Outcome.ALREADY
    assert not is_untouched(tmp_path)


def test_a_data_directory_on_another_machine(active: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "identify_machine", lambda: "ab" * 32)
    told = start_refused(lambda: check(active), "start-machine-other")
    assert "stopped for good" in told.advice
    assert act(active) is Outcome.MOVED
    check(active)


def test_another_key_or_network_needs_its_own_activation(active: Path) -> None:
    for network, key in ((OTHER_NETWORK, KEY), (NETWORK, OTHER_KEY)):
        told = start_refused(partial(check, active, network, key), "start-activation-other")
        assert network.hex() in told.detail
    assert act(active, key=OTHER_KEY) is Outcome.MOVED
    check(active, key=OTHER_KEY)


@pytest.mark.parametrize("has_file", [True, False])
def test_lost_votes_stop_a_node_for_good(active: Path, has_file: bool) -> None:
    (active / "store").mkdir()
    shutil.rmtree(active / "wal")
    told = start_refused(lambda: check(active), "start-votes-missing")
    assert "replace this node's consensus key" in told.advice
    if not has_file:
        (active / "activation.json").unlink()
    assert start_refused(lambda: act(active), "start-votes-missing").detail == str(active / "wal")


def test_lost_votes_of_a_former_key_do_not_matter(active: Path) -> None:
    shutil.rmtree(active / "wal")
    assert act(active, key=OTHER_KEY) is Outcome.FIRST
    check(active, key=OTHER_KEY)


def test_a_lost_store_is_no_lost_vote(active: Path) -> None:
    (active / "store").mkdir()
    check(active)
    (active / "store").rmdir()
    check(active)


def test_a_crash_before_the_file_can_be_repeated(active: Path) -> None:
    (active / "activation.json").unlink()
    assert act(active) is Outcome.MOVED
    check(active)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"version":2}', b"\xff" * 10_000])
def test_a_damaged_file_says_so(active: Path, data: bytes) -> None:
    (active / "activation.json").write_bytes(data)
    start_refused(lambda: check(active), "start-activation-unreadable")


def test_the_machine_is_named_by_a_hash() -> None:
    name = activation.identify_machine()
    assert len(name) == 64
    assert name == activation.identify_machine()
