"""Replay of a log of four real nodes: valid, and the first divergence is named when tampered."""

import random
from pathlib import Path

import msgspec
import pytest

from contracts.replay import replay
from ledger.blocks import HEADERS, RECORDS, Header, hash_header, is_header
from ledger.errors import Divergence
from ledger.genesis import cosigner_keys
from ledger.keys import parse_secret_key
from ledger.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.tlog.merkle import CompactRange, hash_leaf, root_of
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, SignedNote, SigningKey
from ledger.tlog.tiles import (
    ENTRIES_LEVEL,
    TILE_HEIGHT,
    TILE_WIDTH,
    decode_entries,
    encode_entries,
    tile_paths,
)
from ledger.verify import Step
from tests.e2e.network import flip_byte, log_files
from tools.localnet import Localnet
from tools.mirror import folder_reader, read_genesis

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_replay_of_the_mirror_is_valid(stopped: Path, mirror: Path) -> None:
    report = replay(folder_reader(mirror), genesis=read_genesis(stopped / "genesis.json"))
    assert len(report.cosigners) >= 3
    assert report.events == 6 * 45 + 1
    assert report.decisions == {"permit": 240, "review": 0, "deny": 30}
    assert report.entries == report.events + report.blocks


def test_replay_refuses_one_flipped_byte_of_any_file(stopped: Path, mirror: Path) -> None:
    genesis = read_genesis(stopped / "genesis.json")
    chance = random.Random(1)
    for path in log_files(mirror):
        data = path.read_bytes()
        for _ in range(3):
            # The checkpoint's text and log line; a single bad cosignature leaves a quorum.
            place = chance.randrange(60 if path.name == "checkpoint" else len(data))
            flip_byte(path, place)
            with pytest.raises(Divergence):
                replay(folder_reader(mirror), genesis=genesis)
            path.write_bytes(data)


# --- a rogue quorum ------------------------------------------------------------------------------


def read_entries(folder: Path) -> list[bytes]:
    read = folder_reader(folder)
    size = Checkpoint.parse(SignedNote.parse(read("checkpoint") or b"").text).size
    entries: list[bytes] = []
    for tile in tile_paths(size):
        if tile.level == ENTRIES_LEVEL:
            entries += decode_entries(read(tile.format()) or b"", tile.width)
    return entries


def forge(stopped: Path, mirror: Path, entries: list[bytes]) -> None:
    """Write these entries as a log that all four validators signed."""
    local = Localnet(stopped)
    genesis = read_genesis(stopped / "genesis.json")
    head, grown = CompactRange().grow(hash_leaf(entry) for entry in entries)
    tree = Checkpoint(origin=genesis.origin, size=head.size, root=head.root())
    keys = [local.node_directory(member) / "keys" for member in local.members]
    log_seed = parse_secret_key((keys[0] / "log.key").read_text()).seed
    note = sign_checkpoint(tree, SigningKey(name=genesis.origin, kind=ED25519, seed=log_seed))
    lines = tuple(
        cosign(
            tree,
            SigningKey(
                name=verifier.name,
                kind=COSIGNATURE_ED25519,
                seed=parse_secret_key((folder / "cosigning.key").read_text()).seed,
            ),
            1_800_000_000,
        )
        for verifier, folder in zip(cosigner_keys(genesis), keys, strict=True)
    )
    forged = SignedNote(text=note.text, signatures=(*note.signatures, *lines))
    (mirror / "checkpoint").write_bytes(forged.format())
    for tile in tile_paths(head.size):
        start = tile.index * TILE_WIDTH
        if tile.level == ENTRIES_LEVEL:
            data = encode_entries(entries[start : start + tile.width])
        else:
            data = b"".join(grown[tile.level * TILE_HEIGHT][start : start + tile.width])
        (mirror / tile.format()).write_bytes(data)


def relink(entries: list[bytes], start: int = 0) -> list[bytes]:
    """Headers that fit the entries again: sizes, roots and parent hashes, as forgers would do."""
    places = [at for at, data in enumerate(entries) if is_header(data)]
    made = list(entries[: places[start]])
    parent = hash_header(entries[places[start - 1]]) if start else None
    for at, end in zip(places[start:], [*places[start + 1 :], len(entries)], strict=True):
        header: Header = HEADERS.decode(entries[at])
        records = entries[at + 1 : end]
        before = CompactRange().extend([hash_leaf(data) for data in made])
        header = msgspec.structs.replace(
            header,
            parent_hash=parent or header.parent_hash,
            tree_root=before.root(),
            records_root=root_of([hash_leaf(data) for data in records]),
        )
        data = HEADERS.encode(header)
        parent = hash_header(data)
        made += [data, *records]
    return made


def check_diverges(stopped: Path, mirror: Path, entries: list[bytes], step: Step, at: int) -> None:
    forge(stopped, mirror, entries)
    with pytest.raises(Divergence) as caught:
        replay(folder_reader(mirror), genesis=read_genesis(stopped / "genesis.json"))
    assert (caught.value.step, caught.value.index) == (step, at), caught.value


def test_replay_accepts_what_the_forger_did_not_change(stopped: Path, mirror: Path) -> None:
    entries = read_entries(mirror)
    assert relink(entries) == entries
    forge(stopped, mirror, entries)
    replay(folder_reader(mirror), genesis=read_genesis(stopped / "genesis.json"))


def test_replay_names_a_forged_decision(stopped: Path, mirror: Path) -> None:
    """The quorum turns a denial into a permit and makes every hash fit."""
    entries = read_entries(mirror)
    at, record = next(
        (at, RECORDS.decode(data))
        for at, data in enumerate(entries)
        if not is_header(data) and RECORDS.decode(data).outcome.decision == "deny"
    )
    outcome = msgspec.structs.replace(record.outcome, decision="permit", code="")
    entries[at] = RECORDS.encode(msgspec.structs.replace(record, outcome=outcome))
    check_diverges(stopped, mirror, relink(entries), Step.OUTCOMES, at)


def test_replay_names_a_forged_event(stopped: Path, mirror: Path) -> None:
    entries = read_entries(mirror)
    at = len(entries) // 2
    while is_header(entries[at]):
        at += 1
    record = RECORDS.decode(entries[at])
    event = record.event[:-1] + bytes([record.event[-1] ^ 1])
    entries[at] = RECORDS.encode(msgspec.structs.replace(record, event=event))
    check_diverges(stopped, mirror, relink(entries), Step.EVENTS, at)


def test_replay_names_a_forged_state_digest(stopped: Path, mirror: Path) -> None:
    entries = read_entries(mirror)
    at = [place for place, data in enumerate(entries) if is_header(data)][2]
    header = HEADERS.decode(entries[at])
    entries[at] = HEADERS.encode(msgspec.structs.replace(header, state_digest=bytes(32)))
    check_diverges(stopped, mirror, relink(entries), Step.STATE, at)


def test_replay_names_a_left_out_record(stopped: Path, mirror: Path) -> None:
    entries = read_entries(mirror)
    last = next(at for at in range(len(entries) - 1, 0, -1) if not is_header(entries[at]))
    del entries[last]
    forge(stopped, mirror, entries)
    with pytest.raises(Divergence) as caught:
        replay(folder_reader(mirror), genesis=read_genesis(stopped / "genesis.json"))
    assert caught.value.step == Step.RECORDS
