"""Verifiers that we did not write, each in a virtual environment of its own.

`aics-tlog` (Python 3.12 or newer) checks by itself: the log signature, a quorum of cosignatures,
every hash tile and every entry tile against the root. It has no reader for receipts, so the driver
below splits the receipt file and gives the parts to its functions. `tlog-scales` (Python 3.11 or
newer) has a reader and signature checks but no command that walks a log, and its reader trusts the
tiles: the driver compares every hash tile with hashes of the entries, all of them computed by
`tlog-scales`. It gives no meaning to a quorum or a receipt file; the driver counts the cosigners
its key set accepts and splits the receipt. Hashes, notes, signatures and proofs are always theirs.
`aics-witness` (Python 3.12 or newer) has the client side of a witness, by which a log is cosigned.

The environments are made once, under `.cache/third-party/` of the checkout.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "third-party"
AICS = "aics-tlog==0.2.1"
SCALES = "tlog-scales==0.0.3"
AICS_WITNESS = "aics-witness==0.1.0"
TIMEOUT_S = 300

_SPLIT_RECEIPT = """
import base64
def split_receipt(data):
    head, note = data.split(b"\\n\\n", 1)
    first, *lines = head.decode("ascii").split("\\n")
    assert first == "c2sp.org/tlog-proof@v1", first
    lines = [line for line in lines if not line.startswith("extra ")]
    word, index = lines[0].split(" ")
    assert word == "index", word
    return int(index), [base64.b64decode(line, validate=True) for line in lines[1:]], note
"""

_AICS_DRIVER = (
    _SPLIT_RECEIPT
    + """
import json, sys
from pathlib import Path
from aics_tlog import (FileSystemTileReader, audit_tiles, parse_checkpoint, parse_note,
    parse_vkey, verify_checkpoint, verify_leaf_inclusion)
job = json.load(sys.stdin)
index, proof, data = None, None, None
if job["receipt"] is not None:
    index, proof, data = split_receipt(Path(job["receipt"]).read_bytes())
else:
    data = (Path(job["folder"]) / "checkpoint").read_bytes()
note = parse_note(data)
head = parse_checkpoint(note.text)
keys = [parse_vkey(text) for text in job["cosigners"]]
result = verify_checkpoint(note, parse_vkey(job["log"]), keys, job["quorum"])
assert result.ok, result.error
if job["receipt"] is not None:
    entry = Path(job["entry"]).read_bytes()
    assert verify_leaf_inclusion(entry, index, head.size, proof, head.root), "not included"
else:
    print(audit_tiles(FileSystemTileReader(job["folder"]), head.size, head.root))
print("accepted", head.size)
"""
)

_SCALES_DRIVER = (
    _SPLIT_RECEIPT
    + """
import json, sys
from pathlib import Path
from tlog_scales import tiles, tlog
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import Tile, TilesReader
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.utils import sha256
job = json.load(sys.stdin)

def verify_note(head):
    head.verify(Vkey.from_string(job["log"]))
    accepted = VkeySet(*map(Vkey.from_string, job["cosigners"])).verify(head.signatures, head)
    count = len({key.pubkey for key, _ in accepted})
    assert count >= job["quorum"], f"{count} cosignatures"

def read_tiles(backend, size, level):
    full, partial = tiles.level_tiles(size, level)
    widths = [0] * full + ([partial] if partial else [])
    for n, width in enumerate(widths):
        data = backend.get(*tiles.tile_path(level, n, width))
        assert data is not None, (level, n, width)
        tile = (Tile.from_entries_bytes if level < 0 else Tile.from_hash_bytes)(data)
        assert tile.length == (width or 256), (level, n, tile.length)
        yield from tile.entries

def tile_root(hashes):
    while len(hashes) > 1:
        hashes = [sha256(b"\\x01" + a + b) for a, b in zip(hashes[::2], hashes[1::2])]
    return hashes[0]

def verify_folder():
    backend = LocalBackend(Path(job["folder"]))
    reader = TilesReader(backend)
    head = reader.get_checkpoint()
    verify_note(head)
    expected = [tiles.leaf_hash(entry) for entry in read_tiles(backend, head.size, -1)]
    level = 0
    while expected:
        assert list(read_tiles(backend, head.size, level)) == expected, f"level {level}"
        spans = range(0, len(expected) // 256 * 256, 256)
        expected = [tile_root(expected[at : at + 256]) for at in spans]
        level += 1
    assert reader.calculate_root_hash() == head.root_hash, "root"
    return head

def verify_receipt():
    index, proof, data = split_receipt(Path(job["receipt"]).read_bytes())
    head = tlog.Checkpoint.from_text(data.decode())
    verify_note(head)
    leaf = tiles.leaf_hash(Path(job["entry"]).read_bytes())
    tlog.InclusionProof(index, head.size, proof).check(leaf, head.root_hash)
    return head

head = verify_folder() if job["receipt"] is None else verify_receipt()
print("accepted", head.size)
"""
)


_FEEDER_DRIVER = """
import base64, json, sys
from aics_witness.feeder import WitnessClient, FeederError
job = json.load(sys.stdin)
for step in job["steps"]:
    proofs = step["proofs"]
    def prove(old, new):
        return [base64.b64decode(each) for each in proofs[str(old)]]
    client = WitnessClient(job["url"], job["vkey"])
    try:
        print("cosigned", len(client.submit(step["note"], prove).splitlines()))
    except FeederError as error:
        print(type(error).__name__, getattr(error, "status", ""))
print("accepted")
"""


class Unavailable(Exception):
    """The environment cannot be made here; the text says why."""


def verify_with_aics(
    folder: Path | None = None,
    *,
    log_vkey: str,
    cosigner_vkeys: Sequence[str] = (),
    quorum: int = 0,
    receipt: Path | None = None,
    entry: Path | None = None,
) -> tuple[bool, str]:
    """Whether `aics-tlog` accepts the mirror `folder`, or instead the `receipt` of `entry`.

    Returns its verdict and what it printed. Raises `Unavailable`.
    """
    job = _job(folder, log_vkey, cosigner_vkeys, quorum, receipt, entry)
    return _run(_python_with(AICS, (3, 12)), _AICS_DRIVER, job)


def verify_with_scales(
    folder: Path | None = None,
    *,
    log_vkey: str,
    cosigner_vkeys: Sequence[str] = (),
    quorum: int = 0,
    receipt: Path | None = None,
    entry: Path | None = None,
) -> tuple[bool, str]:
    """Like `verify_with_aics`, with the functions of `tlog-scales`."""
    job = _job(folder, log_vkey, cosigner_vkeys, quorum, receipt, entry)
    return _run(_python_with(SCALES, (3, 11)), _SCALES_DRIVER, job)


def feed_with_aics(url: str, vkey: str, steps: Sequence[dict[str, object]]) -> list[str]:
    """What the client of `aics-witness` makes of a witness: one line for each checkpoint.

    A step is a signed `note` and its `proofs`, base64 lists by old size. Each is sent by a client
    that knows nothing, so it has to be told the size first. Raises `Unavailable`.
    """
    job = json.dumps({"url": url, "vkey": vkey, "steps": list(steps)})
    accepted, output = _run(_python_with(AICS_WITNESS, (3, 12)), _FEEDER_DRIVER, job)
    assert accepted, output
    lines = output.split("\n")
    return lines[: lines.index("accepted")]


def _job(
    folder: Path | None,
    log_vkey: str,
    cosigner_vkeys: Sequence[str],
    quorum: int,
    receipt: Path | None,
    entry: Path | None,
) -> str:
    if (folder is None) == (receipt is None) or (receipt is None) != (entry is None):
        raise ValueError("give a folder, or a receipt with its entry")
    return json.dumps(
        {
            "folder": str(folder),
            "log": log_vkey,
            "cosigners": list(cosigner_vkeys),
            "quorum": quorum,
            "receipt": None if receipt is None else str(receipt),
            "entry": None if entry is None else str(entry),
        }
    )


def _run(python: Path, driver: str, job: str) -> tuple[bool, str]:
    done = subprocess.run(
        [python, "-I", "-c", driver],
        input=job,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    output = done.stdout + done.stderr
    return done.returncode == 0 and "accepted" in done.stdout, output


def _python_with(requirement: str, version: tuple[int, int]) -> Path:
    """The interpreter of the environment with `requirement`, made if it is not there yet."""
    folder = CACHE / requirement.replace("==", "-")
    python = folder / "bin" / "python"
    # Written last, so that an interrupted installation is made again.
    complete = folder / "complete"
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    # Test processes running side by side wait for the one that installs.
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            _install(folder, requirement, version)
            complete.touch()
    return python


def _install(folder: Path, requirement: str, version: tuple[int, int]) -> None:
    python = folder / "bin" / "python"
    commands = (
        [str(_find_python(version)), "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", requirement],
    )
    for command in commands:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise Unavailable(f"{requirement}: {done.stderr.strip()[-500:]}")


def _find_python(version: tuple[int, int]) -> Path:
    folders = [Path(item) for item in os.environ.get("PATH", "").split(os.pathsep) if item]
    folders += sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin"))
    names = [f"python3.{minor}" for minor in range(version[1], 15)]
    candidates = [folder / name for name in names for folder in folders]
    for python in (Path(sys.executable), *candidates):
        if python.exists() and _is_at_least(python, version):
            return python
    raise Unavailable(f"no Python {version[0]}.{version[1]} or newer on this machine")


def _is_at_least(python: Path, version: tuple[int, int]) -> bool:
    script = f"import sys, venv; sys.exit(sys.version_info < {version})"
    done = subprocess.run([python, "-c", script], capture_output=True, timeout=60, check=False)
    return done.returncode == 0
