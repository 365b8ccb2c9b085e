"""Builders of genesis, events, blocks and copies of a log; keyword arguments lie about a field."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.blocks import (
    HEADERS,
    RECORDS,
    Header,
    Outcome,
    Record,
    hash_header,
)
from ledger.events import Event, ShareRequested, parse_event, sign_event
from ledger.genesis import Genesis, encode_genesis_json, genesis_state, hash_genesis
from ledger.keys import SecretKey
from ledger.log import FinalizedBlock
from ledger.lthash.digest import StateDigest, apply_changes
from ledger.quorum.epochs import EPOCH_PROOFS, EpochProof, epoch_path, make_epoch_proof
from ledger.quorum.lists import hash_consensus_keys, hash_validator_list
from ledger.registry import (
    Contract,
    Dataset,
    DatasetField,
    LegalBasis,
    Member,
    Officer,
    Parameters,
    PolicySet,
    Purpose,
    Validator,
)
from ledger.state import MapState, Overlay, exchange_key, nonce_key
from ledger.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.tlog.merkle import CompactRange, hash_leaf, root_of
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, SignedNote, SigningKey
from ledger.tlog.tiles import ENTRIES_LEVEL, TILE_HEIGHT, TILE_WIDTH, encode_entries, tile_paths

ORIGIN = "ledger.example/exchange"
MEMBERS = ("east", "north", "south", "west")
TIME_MS = 1_767_225_600_000
LOG_KEY = SigningKey(name=ORIGIN, kind=ED25519, seed=b"L" * 32)


def officer_secret(member: str) -> SecretKey:
    return SecretKey(b"officer-" + member.encode().ljust(24, b"."))


def consensus_secret(member: str) -> SecretKey:
    return SecretKey(b"consens-" + member.encode().ljust(24, b"."))


def cosigning_key(member: str) -> SigningKey:
    seed = b"cosigns-" + member.encode().ljust(24, b".")
    return SigningKey(name=f"{ORIGIN}/{member}", kind=COSIGNATURE_ED25519, seed=seed)


def make_genesis(**lies: Any) -> Genesis:
    officers = (
        Officer(
            key=officer_secret(member).public,
            member=member,
            roles=("requester", "approver", "provider"),
            status="active",
        )
        for member in MEMBERS
    )
    fields: dict[str, Any] = {
        "version": 1,
        "name": "Exchange 示例",
        "origin": ORIGIN,
        "time_ms": TIME_MS,
        "log_key": b"\x01" + LOG_KEY.verifier.raw,
        "parameters": Parameters(
            block_events_max=1_000,
            block_bytes_max=1 << 20,
            delta_ms=200,
            heartbeat_ms=60_000,
            precision_ms=500,
            message_delay_ms=2_000,
            expiry_blocks_max=10_000,
        ),
        "validators": tuple(make_validator(member) for member in MEMBERS),
        "members": tuple(make_member(member) for member in MEMBERS),
        "officers": tuple(sorted(officers, key=lambda officer: officer.key)),
        "datasets": (
            Dataset(
                id="invoices",
                version=1,
                name_zh="发票",
                name_en="Invoices",
                category="vat",
                fields=(
                    DatasetField(
                        id="amount", name_zh="金额", name_en="Amount", sensitivity="internal"
                    ),
                ),
                deadline_hours=72,
            ),
        ),
        "legal_bases": (
            LegalBasis(
                id="law-1",
                title_zh="税收征管法",
                title_en="Tax Collection Law",
                article="54",
                authority="NPC",
                in_force_from="2001-05-01",
                in_force_to="9999-12-31",
                parties=(),
                purposes=(),
                categories=(),
            ),
        ),
        "purposes": (Purpose(id="audit", name_zh="稽查", name_en="Audit"),),
        "freezes": (),
        "policy_set": PolicySet(
            version=0, engine="none", schema="", contracts=(Contract(id="base", text="x"),)
        ),
    }
    return Genesis(**(fields | lies))


def make_member(member: str) -> Member:
    return Member(
        id=member,
        name_zh=member,
        name_en=member,
        region="110000",
        kind="tax",
        status="active",
        credit=500,
    )


def make_validator(member: str, /, **lies: Any) -> Validator:
    fields: dict[str, Any] = {
        "member": member,
        "consensus_key": consensus_secret(member).public,
        "cosigning_key": b"\x01" + cosigning_key(member).verifier.raw,
        "tls_certificate": b"certificate of " + member.encode(),
    }
    return Validator(**(fields | lies))


def make_request(**lies: Any) -> ShareRequested:
    fields: dict[str, Any] = {
        "provider": "south",
        "dataset": "invoices",
        "purpose": "audit",
        "legal_basis": "law-1",
        "fields": ("amount",),
        "period_from": "2025-01-01",
        "period_to": "2025-12-31",
        "subjects": (b"\x07" * 32,),
        "urgency": "normal",
        "retention_days": 365,
        "case": "A-1",
    }
    return ShareRequested(**(fields | lies))


def make_event(number: int = 0, **lies: Any) -> Event:
    fields: dict[str, Any] = {
        "network": hash_genesis(make_genesis()),
        "member": "north",
        "nonce": number.to_bytes(16, "big"),
        "expires_height": 1_000,
        "body": make_request(),
    }
    secret = lies.pop("secret", officer_secret("north"))
    return sign_event(secret, **(fields | lies))


def make_outcome(**lies: Any) -> Outcome:
    fields: dict[str, Any] = {
        "applied": True,
        "code": "",
        "decision": "permit",
        "policies": ("base",),
        "policy_set": bytes(32),
        "obligations": None,
    }
    return Outcome(**(fields | lies))


def read_records(records: Sequence[bytes]) -> dict[str, Any]:
    """The fields of `BlockEntries` with what stands in these records."""
    found = [RECORDS.decode(data) for data in records]
    return {
        "events": tuple(parse_event(record.event) for record in found),
        "outcomes": tuple(record.outcome for record in found),
    }


def make_record(event: Event | bytes, **lies: Any) -> bytes:
    data = event if isinstance(event, bytes) else event.data
    return RECORDS.encode(Record(entry=2, event=data, outcome=make_outcome(**lies)))


def break_signature(event: Event) -> bytes:
    """The signed event with one bit of its signature flipped."""
    assert event.data.endswith(event.signature)
    return event.data[:-1] + bytes([event.data[-1] ^ 1])


class ChainBuilder:
    """Blocks on a genesis, without contracts: every event is applied to a toy state."""

    def __init__(self, genesis: Genesis | None = None) -> None:
        self.genesis = genesis or make_genesis()
        self.network = hash_genesis(self.genesis)
        self.state = MapState(genesis_state(self.genesis))
        digest = StateDigest()
        for key, value in self.state.pairs.items():
            digest.add(key, value)
        self.accumulator = digest.encode()
        self.range = CompactRange()
        self.entries: list[bytes] = []
        self.blocks: list[FinalizedBlock] = []
        self.parent_hash = self.network
        self.epoch = self.view = 0
        self.time_ms = self.genesis.time_ms
        self.validators = self.genesis.validators
        self.proofs: list[EpochProof] = []

    def add(
        self,
        events: Sequence[Event] = (),
        *,
        records: Sequence[bytes] | None = None,
        **lies: Any,
    ) -> FinalizedBlock:
        """The next block; `lies` replace header fields after all others are derived."""
        bodies = tuple(make_record(event) for event in events) if records is None else records
        overlay = Overlay(self.state)
        for event in events:
            overlay.put(nonce_key(event.member, event.nonce), event.digest)
            overlay.put(exchange_key(event.subject), b"state of " + event.digest)
        digest = apply_changes(self.accumulator, overlay)
        leaves = [hash_leaf(body) for body in bodies]
        header = Header(
            entry=1,
            version=1,
            network=self.network,
            epoch=self.epoch,
            height=len(self.blocks) + 1,
            view=self.view + 1,
            parent_view=self.view,
            proposer=0,
            time_ms=self.time_ms + 1,
            parent_hash=self.parent_hash,
            tree_size=self.range.size,
            tree_root=self.range.root(),
            record_count=len(bodies),
            records_root=root_of(leaves),
            state_digest=digest.digest(),
            engine="toy",
            validators_hash=hash_consensus_keys(self.validators),
            next_validators=b"",
        )
        header = msgspec.structs.replace(header, **lies)
        header_bytes = HEADERS.encode(header)
        leaves.insert(0, hash_leaf(header_bytes))
        self.range = self.range.extend(leaves)
        self.accumulator = digest.encode()
        self.state.pairs.update(overlay.changes)
        self.entries += (header_bytes, *bodies)
        self.parent_hash = hash_header(header_bytes)
        self.epoch, self.view, self.time_ms = header.epoch, header.view, header.time_ms
        block = FinalizedBlock(
            header_bytes=header_bytes,
            header=header,
            block_hash=self.parent_hash,
            records=tuple(bodies),
            leaf_hashes=tuple(leaves),
            digests=tuple(event.digest for event in events),
            exchanges=tuple(event.subject for event in events),
            changes=overlay.changes,
            range=self.range,
            accumulator=self.accumulator,
        )
        self.blocks.append(block)
        return block

    def seal(
        self,
        *members: str,
        events: Sequence[Event] = (),
        cosigners: Sequence[str] = (),
        **lies: Any,
    ) -> FinalizedBlock:
        """A seal block: the validators of these members follow, sorted. Adds its proof."""
        following = tuple(make_validator(member) for member in sorted(members))
        block = self.add(events, **{"next_validators": hash_validator_list(following), **lies})
        self.enter(following, cosigners=cosigners)
        return block

    def enter(
        self, following: tuple[Validator, ...], *, cosigners: Sequence[str] = ()
    ) -> EpochProof:
        """Go on in the next epoch after the last block, and prove it."""
        proof = make_epoch_proof(
            LeafReader(self.entries),
            self.blocks[-1].header_bytes,
            following,
            self.checkpoint(cosigners),
        )
        self.proofs.append(proof)
        self.epoch, self.view, self.validators = self.epoch + 1, 0, following
        return proof

    def checkpoint(self, cosigners: Sequence[str] = ()) -> bytes:
        """Of the whole log, cosigned by the present validators unless others are named."""
        members = cosigners or [validator.member for validator in self.validators]
        return make_checkpoint(self.range.size, self.range.root(), cosigners=members)

    def copy(self, **lies: Any) -> dict[str, bytes]:
        """All files of a copy of the log; `lies` replace files, None removes one."""
        files: dict[str, bytes] = make_copy(self.entries, self.genesis)
        files["checkpoint"] = self.checkpoint()
        files |= {epoch_path(proof.epoch): EPOCH_PROOFS.encode(proof) for proof in self.proofs}
        return {path: data for path, data in (files | lies).items() if data is not None}


class LeafReader:
    """Hashes of the tree with these entries."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self._grown = CompactRange().grow(hash_leaf(entry) for entry in entries)[1]

    def read_hash(self, level: int, index: int) -> bytes:
        return self._grown[level][index]


def make_chain(counts: Sequence[int], genesis: Genesis | None = None) -> ChainBuilder:
    """A chain whose blocks hold so many requests each."""
    chain = ChainBuilder(genesis)
    number = 0
    for count in counts:
        events = [make_event(at, network=chain.network) for at in range(number, number + count)]
        chain.add(events)
        number += count
    return chain


def make_checkpoint(
    size: int,
    root: bytes,
    *,
    cosigners: Sequence[str] = MEMBERS,
    log_key: SigningKey = LOG_KEY,
) -> bytes:
    tree = Checkpoint(origin=log_key.name, size=size, root=root)
    note = sign_checkpoint(tree, log_key)
    lines = tuple(cosign(tree, cosigning_key(member), TIME_MS // 1_000) for member in cosigners)
    return SignedNote(text=note.text, signatures=(*note.signatures, *lines)).format()


def make_copy(
    entries: Sequence[bytes], genesis: Genesis | None = None, **lies: Any
) -> dict[str, bytes]:
    """All files of a copy of the log with these entries."""
    head, grown = CompactRange().grow(hash_leaf(entry) for entry in entries)
    files = {
        "genesis.json": encode_genesis_json(genesis or make_genesis()),
        "checkpoint": make_checkpoint(head.size, head.root(), **lies),
    }
    for tile in tile_paths(head.size):
        start = tile.index * TILE_WIDTH
        if tile.level == ENTRIES_LEVEL:
            data = encode_entries(entries[start : start + tile.width])
        else:
            data = b"".join(grown[tile.level * TILE_HEIGHT][start : start + tile.width])
        files[tile.format()] = data
    return files
