"""Proof that a log was forked: two checkpoints, each cosigned by a quorum, of two histories.

An alarm is a JSON file that proves itself to whoever has the genesis; the steps of `verify_alarm`:

1. epochs      Each proof leads from the validators of one epoch to the next.
2. signatures  The log signed both checkpoints, and a quorum of their epoch cosigned each.
3. histories   Of one size, they have two roots. Else `root` is the root that the larger tree had at
               the size of the smaller one, by `proof` (RFC 6962 section 2.1.2), and is another than
               that of the smaller one.

`kind` says how it was seen: `rewrite`, by what the same node or mirror had shown before;
`split-view`, by what another node showed. Who is to blame is for people to find out: more than a
third of the validators signed both.
"""

import base64
import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ledger.codec import Value
from ledger.errors import InvalidProof, LedgerError
from ledger.genesis import Genesis, hash_genesis
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain
from ledger.storage import write_file
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Hash, prove_consistency, verify_consistency
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import PROOF_HASHES_MAX
from tools.exits import InvalidInput
from tools.mirror.tree import RemoteTree, head_root

ALARM_BYTES_MAX = 33_554_432
EPOCHS_MAX = 10_000

Kind = Literal["split-view", "rewrite"]
Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Sighting(Value, frozen=True, kw_only=True):
    """A signed checkpoint, and where it was seen."""

    source: str
    note: str


class Alarm(Value, frozen=True, kw_only=True):
    """The file. `first` is not larger than `second`."""

    version: Literal[1]
    kind: Kind
    network: Hex32
    time_ms: int
    first: Sighting
    second: Sighting
    root: Hex32
    proof: Annotated[tuple[Hex32, ...], Meta(max_length=PROOF_HASHES_MAX)]
    epochs: Annotated[tuple[str, ...], Meta(max_length=EPOCHS_MAX)]


async def find_fork(
    tree: RemoteTree,
    epochs: EpochChain,
    *,
    kind: Kind,
    first: Sighting,
    second: Sighting,
    time_ms: int,
) -> Alarm | None:
    """Compare a checkpoint seen before with `tree`, which is that of `second` and not smaller.

    Both notes are verified already. Two of one size need no hash of the tree, so it may be that
    nobody gives any. Raises what fetching tiles does.
    """
    old = Checkpoint.parse(SignedNote.parse(first.note.encode()).text)
    size, root, proof = tree.checkpoint.size, tree.checkpoint.root, tuple[Hash, ...]()
    if old.size != size:
        await tree.open()
        root = await tree.compute(lambda reader: head_root(reader, old.size))
    if root == old.root:
        return None
    if old.size != size:
        proof = await tree.compute(lambda reader: prove_consistency(reader, old.size, size))
    return Alarm(
        version=1,
        kind=kind,
        network=hash_genesis(epochs.genesis).hex(),
        time_ms=time_ms,
        first=first,
        second=second,
        root=root.hex(),
        proof=tuple(each.hex() for each in proof),
        epochs=tuple(base64.b64encode(EPOCH_PROOFS.encode(p)).decode() for p in epochs.proofs),
    )


def verify_alarm(alarm: Alarm, genesis: Genesis) -> tuple[Checkpoint, Checkpoint]:
    """Check the proof; the two checkpoints. Raises `LedgerError`."""
    if alarm.network != hash_genesis(genesis).hex():
        raise InvalidProof(f"an alarm about network {alarm.network}")
    epochs = EpochChain(genesis)  # 1
    for proof in alarm.epochs:
        try:
            epochs.add(EPOCH_PROOFS.decode(base64.b64decode(proof, validate=True)))
        except ValueError as error:
            raise InvalidProof(f"the proof of epoch {epochs.epoch} is not base64") from error
    first, second = (_verify_sighting(each, epochs) for each in (alarm.first, alarm.second))  # 2
    root = bytes.fromhex(alarm.root)  # 3
    path = tuple(map(bytes.fromhex, alarm.proof))
    verify_consistency(first.size, root, second.size, second.root, path)
    if root == first.root:
        raise InvalidProof("both checkpoints are of one history")
    return first, second


def write_alarm(folder: Path, alarm: Alarm) -> tuple[Path, bool]:
    """Keep an alarm, named by its two notes; and whether it was new. Durable on return."""
    digest = hashlib.sha256(f"{alarm.first.note}\n{alarm.second.note}".encode()).hexdigest()
    path = folder / f"alarm-{digest[:16]}.json"
    if path.exists():
        return path, False
    folder.mkdir(parents=True, exist_ok=True)
    write_file(path, encode_alarm(alarm))
    return path, True


def encode_alarm(alarm: Alarm) -> bytes:
    """Bytes of the file."""
    return msgspec.json.format(msgspec.json.encode(alarm), indent=2) + b"\n"


def read_alarm(path: Path) -> Alarm:
    """The alarm in a file. Raises `InvalidInput`."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(ALARM_BYTES_MAX), type=Alarm)
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput("alarm-malformed", f"{path}: {error}") from None


def _verify_sighting(sighting: Sighting, epochs: EpochChain) -> Checkpoint:
    signed = SignedNote.parse(sighting.note.encode())
    size = Checkpoint.parse(signed.text).size
    try:
        return epochs.policy_for(size).verify(signed)
    except LedgerError as error:
        raise InvalidProof(f"the checkpoint seen at {sighting.source}: {error}") from error
