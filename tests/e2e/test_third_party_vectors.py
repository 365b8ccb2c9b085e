"""The verifiers we did not write accept the example log, and refuse it with one byte changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.third_party import Unavailable, verify_with_aics, verify_with_scales

EXAMPLE = Path(__file__).parents[1] / "vectors" / "example_log"
INFO = json.loads((EXAMPLE / "info.json").read_text())
FILES = sorted(
    path.relative_to(EXAMPLE / "log") for path in (EXAMPLE / "log").rglob("*") if path.is_file()
)
LOG = INFO["log_vkey"]
COSIGNERS = [item["vkey"] for item in INFO["witness"]]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=[verify_with_aics, verify_with_scales], ids=["aics", "scales"])
def verify(request: pytest.FixtureRequest) -> Callable[..., tuple[bool, str]]:
    def run(folder: Path | None = None, **options: object) -> tuple[bool, str]:
        options = {"log_vkey": LOG, "cosigner_vkeys": COSIGNERS, "quorum": 4} | options
        try:
            return request.param(folder, **options)
        except Unavailable as error:
            pytest.skip(str(error))

    return run


def flip_byte(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_example_log_is_accepted(verify: Callable[..., tuple[bool, str]]) -> None:
    accepted, output = verify(EXAMPLE / "log")
    assert accepted, output


@pytest.mark.parametrize("name", FILES, ids=str)
def test_one_changed_byte_of_any_file_is_refused(
    verify: Callable[..., tuple[bool, str]], name: Path, tmp_path: Path
) -> None:
    # In the checkpoint: the last byte of the root, in the log's line and in a cosignature.
    data = (EXAMPLE / "log" / name).read_bytes()
    places = [5, len(data) // 2, len(data) - 9]
    if name.name == "checkpoint":
        places.append(data.index(b"gZNO") + 3)
    for place in places:
        folder = tmp_path / str(place)
        shutil.copytree(EXAMPLE / "log", folder)
        flip_byte(folder / name, place)
        accepted, output = verify(folder)
        assert not accepted, (name, place, output)


def test_quorum_is_counted(verify: Callable[..., tuple[bool, str]], tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "log", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "checkpoint"
    lines = path.read_bytes().split(b"\n")
    path.chmod(0o644)
    path.write_bytes(b"\n".join([*lines[:-2], b""]))
    accepted, output = verify(tmp_path, quorum=3)
    assert accepted, output
    accepted, output = verify(tmp_path, quorum=4)
    assert not accepted, output


def test_receipt(verify: Callable[..., tuple[bool, str]], tmp_path: Path) -> None:
    receipt, entry = EXAMPLE / "event-257.tlog-proof", EXAMPLE / "leaf.bin"
    accepted, output = verify(receipt=receipt, entry=entry)
    assert accepted, output
    size_bytes = receipt.stat().st_size
    for place in (30, 60, 400, size_bytes // 2, size_bytes - 9):
        changed = tmp_path / str(place)
        changed.write_bytes(receipt.read_bytes())
        flip_byte(changed, place)
        accepted, output = verify(receipt=changed, entry=entry)
        assert not accepted, (place, output)
    other = tmp_path / "entry"
    other.write_bytes(b"event-256\n")
    accepted, output = verify(receipt=receipt, entry=other)
    assert not accepted, output
