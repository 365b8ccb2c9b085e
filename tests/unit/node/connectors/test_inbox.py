"""The folder receiver: whole and durable or not at all, once, for its owner's eyes."""

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.connectors.errors import ReceiverFailed
from node.connectors.inbox import FolderReceiver
from tests.unit.node.connectors.asks import EXCHANGE, delivery, invoice, jsonl

PIECES = (jsonl(invoice(1)), jsonl(invoice(2)))
NAME = f"{EXCHANGE.hex()}.0"


@pytest.fixture
def inbox(tmp_path: Path) -> FolderReceiver:
    return FolderReceiver({"path": "inbox"}, tmp_path)


def refusal(inbox: FolderReceiver, *pieces: bytes, **changed: object) -> tuple[str, bool]:
    with pytest.raises(ReceiverFailed) as caught:
        inbox.receive(delivery(*pieces, **changed))
    return caught.value.code, caught.value.retry


def test_a_delivery_lies_in_a_folder_of_its_own(inbox: FolderReceiver, tmp_path: Path) -> None:
    inbox.check()
    inbox.receive(delivery(*PIECES))
    folder = tmp_path / "inbox" / NAME
    assert (folder / "records.jsonl").read_bytes() == b"".join(PIECES)
    assert json.loads((folder / "report.json").read_bytes())["accepted"] == 2
    assert json.loads((folder / "delivery.json").read_bytes()) == {
        "exchange": EXCHANGE.hex(),
        "correction": 0,
        "dataset": "invoice",
        "provider": "cn-3100-tax",
        "purpose": "audit",
        "record_count": 2,
        "size_bytes": len(b"".join(PIECES)),
        "commitment": "00" * 32,
    }
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(("records.jsonl", "report.json", "delivery.json"), 0o600)
    assert (
        stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    )
    inbox.close()


def test_the_same_twice_is_one_and_another_is_refused(
    inbox: FolderReceiver, tmp_path: Path
) -> None:
    inbox.receive(delivery(*PIECES))

    def untouched() -> Iterator[bytes]:
        raise AssertionError("read again")
        yield b""

    inbox.receive(delivery(*PIECES, pieces=untouched()))
    assert refusal(inbox, *PIECES, commitment=bytes([1]) * 32) == ("delivery-differs", False)
    inbox.receive(delivery(PIECES[0], correction=1))
    assert sorted(path.name for path in (tmp_path / "inbox").iterdir()) == [
        NAME,
        f"{EXCHANGE.hex()}.1",
    ]


def test_a_delivery_of_which_nobody_knows_whether_its_name_is_durable_is_made_so(
    inbox: FolderReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it may have been killed right after the renaming; then the power goes."""
    inbox.receive(delivery(*PIECES))
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_ino))
    inbox.receive(delivery(*PIECES))
    assert synced == [(tmp_path / "inbox").stat().st_ino]


def test_a_stream_that_breaks_leaves_nothing(inbox: FolderReceiver, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield PIECES[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        inbox.receive(delivery(*PIECES, pieces=broken()))
    assert refusal(inbox, *PIECES, pieces=iter(PIECES[:1])) == ("delivery-incomplete", True)
    assert refusal(inbox, *PIECES, report=b"\xc1") == ("report-invalid", False)
    assert not list((tmp_path / "inbox").iterdir())
    inbox.receive(delivery(*PIECES))


def test_what_a_killed_process_left_is_written_anew(inbox: FolderReceiver, tmp_path: Path) -> None:
    """A real process dies by SIGKILL in the midst of the records."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from node.connectors.inbox import FolderReceiver\n"
        "from tests.unit.node.connectors.asks import delivery\n"
        "def pieces():\n"
        "    yield b'{}\\n' * 100_000\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "FolderReceiver({'path': 'inbox'}, Path(sys.argv[1])).receive(delivery(pieces=pieces()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path])
    assert done.returncode == -9
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == [f".{NAME}.part"]
    inbox.receive(delivery(*PIECES))
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == [NAME]
    assert (tmp_path / "inbox" / NAME / "records.jsonl").read_bytes() == b"".join(PIECES)


def test_a_full_disk_is_tried_again(inbox: FolderReceiver, tmp_path: Path) -> None:
    inbox.check()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        assert refusal(inbox, b"{}\n" * 100_000) == ("inbox-full", True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "inbox").iterdir())
    inbox.receive(delivery(b"{}\n" * 100_000))


def test_it_lies_beside_the_configuration_unless_told_otherwise(tmp_path: Path) -> None:
    FolderReceiver({}, tmp_path).receive(delivery(*PIECES))
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == [NAME]


def test_an_inbox_that_cannot_be_is_tried_again(tmp_path: Path) -> None:
    nowhere = FolderReceiver({"path": "absent/inbox"}, tmp_path)
    assert refusal(nowhere, *PIECES) == ("inbox-failed", True)
    nowhere.erase(EXCHANGE)


def test_erasing_takes_all_of_an_exchange_and_nothing_else(
    inbox: FolderReceiver, tmp_path: Path
) -> None:
    inbox.receive(delivery(*PIECES))
    inbox.receive(delivery(*PIECES, correction=1))
    inbox.receive(delivery(*PIECES, exchange=bytes(32)))
    shutil.copytree(tmp_path / "inbox" / NAME, tmp_path / "inbox" / f".{EXCHANGE.hex()}.2.part")
    inbox.erase(EXCHANGE)
    inbox.erase(EXCHANGE)
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == [f"{bytes(32).hex()}.0"]
